/**
 * A directory as the store of a copy, for demos and tests. It refuses to overwrite, and keeps that promise against the
 * application only: it is NOT write-once against whoever administers the machine, who can remove or change any file.
 *
 * Invariants: a file appears whole and is on the disk before it counts; it is never opened for writing again. Whatever
 * lies there instead of files and folders is neither followed nor waited for: links, pipes, sockets, devices.
 */
import { randomUUID } from 'node:crypto';
import { constants, type Dirent } from 'node:fs';
import { type FileHandle, link, lstat, mkdir, open, readdir, rm } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import { RingfenceAuditError } from '../errors.ts';
import { parseObjectName } from './object-key.ts';
import type { ListedVersion, LockedVersion, ObjectVersion, StoredBytes, WriteOnceStore } from './store.ts';

/** Settings of `directoryStore`. */
export interface DirectoryStoreOptions {
  /** An existing directory that holds nothing else. */
  readonly root: string;
}

const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
/** Non-blocking: opening a pipe without a writer would wait for one. */
const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
/** A file has one version. */
const ONLY = 'file';

/**
 * A store in a directory that refuses to overwrite. Not write-once against its administrator: use it to see the copy
 * work, not to rely on it.
 *
 * @example
 * ```ts
 * const store = directoryStore({ root: '/var/lib/demo/audit-copy' });
 * ```
 */
export function directoryStore(options: DirectoryStoreOptions): WriteOnceStore {
  const root = resolve(options.root);
  const pathOf = (key: string): string => {
    if (key.split('/').some((name) => name === '' || name === '.' || name === '..')) {
      throw new TypeError('a key leads out of the directory');
    }
    return join(root, key);
  };
  const read = async ({ key }: ObjectVersion, mostBytes: number): Promise<StoredBytes | undefined> => {
    const path = pathOf(key);
    if (!(await isWithin(root, dirname(path)))) return undefined;
    const file = await open(path, READ).catch(absent);
    if (file === undefined) return undefined;
    try {
      if (!(await file.stat()).isFile()) return undefined;
      const bytes = await firstBytes(file, mostBytes + 1);
      return {
        body: bytes.subarray(0, mostBytes),
        cut: bytes.length > mostBytes,
        promisedUntilMs: undefined,
      };
    } finally {
      await file.close();
    }
  };
  return {
    name: `directory:${root}`,
    locks: false,
    create: (key, body) =>
      guarded(`writing ${key}`, async () => {
        await writeNew(root, pathOf(key), body);
        const version = { key, versionId: ONLY };
        const stored = await read(version, body.length);
        if (stored === undefined || stored.cut || !Buffer.from(stored.body).equals(body)) {
          throw new RingfenceAuditError('audit.copy_conflict', `${key} exists with other bytes`);
        }
        return { ...version, retention: undefined } satisfies LockedVersion;
      }),
    list: (prefix) => walk(root, prefix),
    read: (version, mostBytes) => guarded(`reading ${version.key}`, () => read(version, mostBytes)),
    retention: () => Promise.resolve(undefined),
  };
}

/** Written beside its place, then put there in one step that fails when the place is taken. */
async function writeNew(root: string, path: string, body: Uint8Array): Promise<void> {
  const folder = dirname(path);
  await makeFolder(root, folder);
  const temporary = join(root, `.writing-${randomUUID()}`);
  const file = await open(temporary, CREATE, 0o444);
  try {
    await file.writeFile(body);
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    await link(temporary, path).catch((error: unknown) => {
      if (codeOf(error) !== 'EEXIST') throw error;
    });
    // Names are on the disk only when their folders are.
    for (let at = folder; at.length >= root.length; at = dirname(at)) await syncFolder(at);
  } finally {
    await rm(temporary, { force: true });
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Whether a folder is where its path says, with no link on the way below the root. */
async function isWithin(root: string, folder: string): Promise<boolean> {
  for (let at = folder; at.length > root.length; at = dirname(at)) {
    const found = await lstat(at).catch(absent);
    if (found?.isDirectory() !== true) return false;
  }
  return true;
}

/** Makes the folders of an object, level by level: making all at once would follow a link, and make them where it leads. */
async function makeFolder(root: string, folder: string): Promise<void> {
  const key = folder.slice(root.length + 1);
  await mkdir(root, { recursive: true, mode: 0o755 });
  let at = root;
  for (const name of key.split(sep).filter((one) => one !== '')) {
    at = join(at, name);
    await mkdir(at, { mode: 0o755 }).catch((error: unknown) => {
      if (codeOf(error) !== 'EEXIST') throw error;
    });
    const found = await lstat(at);
    if (found.isDirectory()) continue;
    const what = found.isSymbolicLink() ? 'a link' : 'something that is no folder';
    throw new RingfenceAuditError('audit.copy_conflict', `${what} lies on the way to ${key}`);
  }
}

/** The first bytes of a file, which may grow meanwhile. */
async function firstBytes(file: FileHandle, most: number): Promise<Uint8Array> {
  const { size } = await file.stat();
  const bytes = new Uint8Array(Math.min(most, size));
  let length = 0;
  while (length < bytes.length) {
    const { bytesRead } = await file.read(bytes, length, bytes.length - length, length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return bytes.subarray(0, length);
}

async function* walk(root: string, prefix: string): AsyncGenerator<ListedVersion, void, void> {
  const top = resolve(root, prefix.slice(0, Math.max(0, prefix.lastIndexOf('/'))));
  const entries = await guarded(`listing ${prefix}`, async () =>
    (await isWithin(root, top)) ? await readdir(top, { recursive: true, withFileTypes: true }) : [],
  );
  const keyOf = ({ parentPath, name }: Dirent) =>
    join(parentPath, name)
      .slice(root.length + 1)
      .split(sep)
      .join('/');
  const keys = entries
    // A folder with the name of an object is in its way.
    .filter((entry) => !entry.isDirectory() || isObjectName(keyOf(entry)))
    .map(keyOf)
    // A write that was interrupted leaves its file behind; it was never an object.
    .filter((key) => key.startsWith(prefix) && !key.startsWith('.writing-'));
  for (const key of keys.sort()) yield { key, versionId: ONLY, deleteMarker: false };
}

function isObjectName(key: string): boolean {
  return parseObjectName(key.slice(key.indexOf('/') + 1)) !== undefined;
}

async function guarded<T>(operation: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof RingfenceAuditError || error instanceof TypeError) throw error;
    const passing = ['ENOSPC', 'EDQUOT', 'EIO', 'EMFILE', 'ENFILE', 'EAGAIN'].includes(codeOf(error));
    throw new RingfenceAuditError(
      passing ? 'audit.copy_unavailable' : 'audit.copy_denied',
      `${operation} failed`,
      {
        retryable: passing,
        cause: error,
      },
    );
  }
}

function absent(error: unknown): undefined {
  // ELOOP: a link in the place of a file; ENXIO: a socket.
  if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO'].includes(codeOf(error))) return undefined;
  throw error;
}

function codeOf(error: unknown): string {
  const { code } = (typeof error === 'object' && error !== null ? error : {}) as { readonly code?: unknown };
  return typeof code === 'string' ? code : '';
}
