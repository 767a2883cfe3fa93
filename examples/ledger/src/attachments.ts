/**
 * Receipts and contracts attached to entries: encrypted while they are sent, bound to organisation and row, readable by
 * range. The key of the object is in the row. Storage refuses a key of another organisation before anything is sent, and
 * the server behind it refuses once more.
 *
 * An upload holds no connection to the database: the object is stored first, then its row is written in a short
 * transaction. A crash between the two leaves an object without a row, which nobody can reach or open through the app;
 * `orphanedAttachments` finds it by listing.
 */
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { encryptTransform, openFile, type RangeSource } from '@ringfence/crypto/files';
import { withEncryption } from '@ringfence/crypto/kysely';
import type { OrgObjects } from '@ringfence/tenancy/storage';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import { decide, guarded } from './guarded.ts';
import { checked, line } from './input.ts';
import type { Ledger } from './ledger.ts';
import { NotFoundError } from './not-found.ts';
import { recordingRefusals } from './refusals.ts';
import { columns } from './schema.ts';
import type { Session } from './session.ts';

const TABLE = 'ledger.attachment';
/** First segment of the keys of attachments, below the organisation's prefix. */
const FOLDER = 'attachments';
const cell = (id: string) => ({ table: TABLE, column: 'content', row: id });

/** Most bytes of an attachment that are read at once: they are held in memory, which all organisations share. */
export const MOST_RANGE_BYTES = 16 * 1_048_576;

/**
 * Attaches a file to an entry and returns the attachment's id.
 *
 * @throws InvalidInputError `ledger.invalid_input` for a name that is none.
 * @throws NotFoundError `ledger.entry_not_found` when the organisation has no such entry.
 */
export async function attachFile(
  ledger: Ledger,
  session: Session,
  asked: string,
  name: string,
  content: Readable,
): Promise<string> {
  const id = uuidv7();
  await decide(ledger, session, 'entry.attach', { id: asked });
  checked(line(200), name, 'name', 'a name of 1 to 200 characters');
  const entryId = await recordingRefusals(ledger, session, async () => {
    const entry = await ledger.tenancy
      .forOrg(session.org, session.principal)
      .selectFrom('ledger.entry')
      .select('id')
      .where('id', '=', asked)
      .executeTakeFirst();
    if (entry === undefined) throw new NotFoundError('entry', asked, 'entry.attach');
    return entry.id; // as it is stored, for the decision and the log
  });
  const keys = await ledger.keyring.org(session.org);
  const objects = ledger.storage.forOrg(session.org);
  const objectKey = await pipeline(content, encryptTransform(keys, cell(id)), (sealed) =>
    objects.put([FOLDER, id], sealed),
  );
  return await guarded(ledger, session, async ({ db, authorize, record }) => {
    authorize('entry.attach', { id: entryId });
    await db.insertInto(TABLE).values({ id, entry_id: entryId, name, object_key: objectKey }).execute();
    await record('attachment.added', { target: id, outcome: 'success', data: { entry: entryId } });
    return id;
  });
}

const range = z.object({ offset: z.int().min(0), length: z.int().min(0).max(MOST_RANGE_BYTES) });

/** An attachment's name, size in bytes, and the bytes asked for. */
export interface AttachmentRange {
  readonly name: string;
  readonly size: number;
  readonly bytes: Uint8Array;
}

/**
 * Reads a range of an attachment, 16 MiB at most; only the chunks it touches are read and authenticated. No byte is handed out before the
 * audit event of the read is committed.
 *
 * @throws InvalidInputError `ledger.invalid_input` for a range that is none, or too long.
 * @throws NotFoundError `ledger.attachment_not_found` when the organisation has no such attachment.
 */
export async function readAttachment(
  ledger: Ledger,
  session: Session,
  asked: string,
  offset: number,
  length: number,
): Promise<AttachmentRange> {
  await decide(ledger, session, 'entry.read', { id: asked }); // first: who may not read is not told what there is
  checked(range, { offset, length }, 'range', `whole bytes, ${MOST_RANGE_BYTES} at most`);
  const keys = await ledger.keyring.org(session.org);
  const row = await recordingRefusals(ledger, session, async () => {
    const handle = ledger.tenancy.forOrg(session.org, session.principal);
    const stored = await withEncryption(handle, keys, columns)
      .selectFrom(TABLE)
      .select(['id', 'org_id', 'name', 'object_key'])
      .where('id', '=', asked)
      .executeTakeFirst();
    if (stored === undefined) throw new NotFoundError('attachment', asked, 'entry.read');
    return stored;
  });
  const { id } = row;
  const source = await objectSource(ledger.storage.forOrg(session.org), row.object_key);
  const file = await openFile(keys, cell(id), source);
  const bytes = await file.read(offset, length);
  return await guarded(ledger, session, async ({ authorize, record }) => {
    authorize('entry.read', { id });
    await record('attachment.read', { target: id, outcome: 'success' });
    return { name: row.name, size: file.size, bytes };
  });
}

/** An object as a source of ranges, all of the same version of it. */
async function objectSource(objects: OrgObjects, key: string): Promise<RangeSource> {
  const { size, etag } = await objects.head(key);
  return {
    size,
    read: async (offset, length) => {
      const bytes = { first: offset, last: offset + length - 1 };
      return await buffer((await objects.get(key, { range: bytes, ifMatch: etag })).body);
    },
  };
}

/** Keys of attachments that were stored at least `olderThanMs` ago and have no row: uploads that never got to one. */
export async function orphanedAttachments(
  ledger: Ledger,
  session: Session,
  olderThanMs: number,
): Promise<string[]> {
  await decide(ledger, session, 'entry.read', { id: 'orphans' });
  const before = Date.now() - olderThanMs;
  const stored: string[] = [];
  for await (const { key, modified } of ledger.storage.forOrg(session.org).list({ under: [FOLDER] })) {
    if (modified.getTime() <= before) stored.push(key);
  }
  const rows = await ledger.tenancy
    .forOrg(session.org, session.principal)
    .selectFrom(TABLE)
    .select('object_key')
    .execute();
  const known = new Set(rows.map((row) => row.object_key));
  return stored.filter((key) => !known.has(key));
}
