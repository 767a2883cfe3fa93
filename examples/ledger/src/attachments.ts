/**
 * Receipts and contracts attached to entries: encrypted while they are written, bound to organisation and row, readable
 * by range. The store is a local directory here. A file without its row is unreachable and opens for nobody else.
 */
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { encryptTransform, fileSource, openFile } from '@ringfence/crypto/files';
import type { OrgId } from '@ringfence/tenancy';
import { v7 as uuidv7 } from 'uuid';
import { EntryNotFoundError } from './entries.ts';
import { guarded } from './guarded.ts';
import type { Ledger } from './ledger.ts';
import type { Session } from './session.ts';

const TABLE = 'ledger.attachment';
const cell = (id: string) => ({ table: TABLE, column: 'content', row: id });

/** Path of an attachment. Both parts are ids this app made, never a name a user gave. */
export function attachmentPath(ledger: Ledger, org: OrgId, id: string): string {
  return join(ledger.attachmentsDir, org, id);
}

/** Attaches a file to an entry and returns the attachment's id. Nothing stays behind when it fails half way, but for the file of a COMMIT without an answer. */
export async function attachFile(
  ledger: Ledger,
  session: Session,
  entryId: string,
  name: string,
  content: Readable,
): Promise<string> {
  const id = uuidv7();
  const path = attachmentPath(ledger, session.org, id);
  try {
    return await guarded(ledger, session, async ({ db, keys, authorize, record }) => {
      authorize('entry.attach', { id: entryId });
      const entry = await db
        .selectFrom('ledger.entry')
        .select('id')
        .where('id', '=', entryId)
        .executeTakeFirst();
      if (entry === undefined) throw new EntryNotFoundError(entryId);
      await mkdir(join(ledger.attachmentsDir, session.org), { recursive: true });
      await pipeline(
        content,
        encryptTransform(keys, cell(id)),
        createWriteStream(`${path}.part`, { flags: 'wx' }),
      );
      await rename(`${path}.part`, path);
      await db.insertInto(TABLE).values({ id, entry_id: entryId, name }).execute();
      await record('attachment.added', { target: id, outcome: 'success', data: { entry: entryId } });
      return id;
    });
  } catch (error) {
    await rm(`${path}.part`, { force: true });
    // Where the answer to COMMIT was lost, the row may be there: an orphaned file is harmless, a lost one is not.
    if ((error as { code?: unknown }).code !== 'tenancy.connection_lost') await rm(path, { force: true });
    throw error;
  }
}

/** An attachment's name, size in bytes, and the bytes asked for. */
export interface AttachmentRange {
  readonly name: string;
  readonly size: number;
  readonly bytes: Uint8Array;
}

/** Thrown when the organisation has no such attachment. */
export class AttachmentNotFoundError extends Error {
  override readonly name: string = 'AttachmentNotFoundError';
  /** Stable machine-readable code. */
  readonly code: string = 'ledger.attachment_not_found';
}

/**
 * Reads a range of an attachment; only the chunks it touches are read and authenticated.
 *
 * @throws AttachmentNotFoundError when the organisation has no such attachment.
 */
export async function readAttachment(
  ledger: Ledger,
  session: Session,
  id: string,
  offset: number,
  length: number,
): Promise<AttachmentRange> {
  return await guarded(ledger, session, async ({ db, keys, authorize, record }) => {
    const row = await db.selectFrom(TABLE).select(['id', 'name']).where('id', '=', id).executeTakeFirst();
    if (row === undefined) throw new AttachmentNotFoundError(`no attachment ${id} in this organisation`);
    authorize('entry.read', { id });
    await using source = await fileSource(attachmentPath(ledger, session.org, id));
    const file = await openFile(keys, cell(id), source);
    const bytes = await file.read(offset, length);
    await record('attachment.read', { target: id, outcome: 'success' });
    return { name: row.name, size: file.size, bytes };
  });
}
