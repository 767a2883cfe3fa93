/**
 * Objects in a directory, behind the same port as S3: for demos and tests on one machine. Each organisation has a folder;
 * a level of a key is a folder `d-<segment>`, its end a file `f-<segment>`, so that `a` and `a/b` can both be stored.
 * Invariants: no path leaves the root, not even through a symbolic link that someone planted; a reader sees a whole object
 * or none (written beside it, then renamed); files are for their owner alone (0600).
 */
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, link, mkdir, open, opendir, realpath, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { RingfenceTenancyError, type TenancyErrorCode } from '../errors.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import { orgKey, orgPrefix, parseOrgKey } from '../storage/object-key.ts';
import {
  checkRange,
  invalidRange,
  type ObjectInfo,
  type ObjectKey,
  type ObjectStorage,
  type OrgObjects,
  ownKey,
  requireOperation,
} from '../storage/object-storage.ts';
import { checkOperations, DEFAULT_OPERATIONS, type StorageOperation } from '../storage/operations.ts';

/** Options of `directoryStorage`. */
export interface DirectoryStorageOptions {
  /** An existing directory that holds nothing else. */
  readonly root: string;
  /** What handles may do. Default read, write, list. */
  readonly operations?: readonly StorageOperation[];
}

/** Bytes read at a time. */
const CHUNK = 64 * 1024;
const READ_ONLY = constants.O_RDONLY | constants.O_NOFOLLOW;
const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/**
 * Makes a store of objects per organisation in a directory.
 *
 * @example
 * ```ts
 * const storage = directoryStorage({ root: '/var/lib/app/objects' });
 * await storage.forOrg(org).put(['logo'], bytes);
 * ```
 */
export function directoryStorage(options: DirectoryStorageOptions): ObjectStorage {
  const operations = checkOperations(options.operations ?? DEFAULT_OPERATIONS);
  const root = resolve(options.root);
  return {
    operations,
    forOrg: (org) => new DirectoryOrgObjects(parseOrgId(org), root, operations),
    async close() {},
  };
}

class DirectoryOrgObjects implements OrgObjects {
  readonly org: OrgId;
  readonly #root: string;
  readonly #operations: readonly StorageOperation[];

  constructor(org: OrgId, root: string, operations: readonly StorageOperation[]) {
    this.org = org;
    this.#root = root;
    this.#operations = operations;
  }

  put: OrgObjects['put'] = async (name, body, { ifAbsent = false } = {}) => {
    const key = this.#key('write', name);
    return this.#write(key, body instanceof Uint8Array ? [body] : body, ifAbsent);
  };

  get: OrgObjects['get'] = async (name, { range, ifMatch } = {}) => {
    const key = this.#key('read', name);
    const { first, last = Number.MAX_SAFE_INTEGER } = checkRange(range ?? { first: 0 });
    const file = await this.#open(key);
    try {
      const info = await infoOf(key, file);
      if (ifMatch !== undefined && ifMatch !== info.etag) {
        throw failure('tenancy.storage_precondition_failed', 'get', this.org);
      }
      if (range !== undefined && first >= info.size) throw invalidRange();
      return { ...info, body: bytesOf(file, first, Math.min(last, info.size - 1)) };
    } catch (error) {
      await file.close();
      throw error;
    }
  };

  head: OrgObjects['head'] = async (name) => {
    const key = this.#key('read', name);
    const file = await this.#open(key);
    try {
      return await infoOf(key, file);
    } finally {
      await file.close();
    }
  };

  list: OrgObjects['list'] = ({ under = [] } = {}) => {
    requireOperation(this.#operations, 'list');
    const prefix = under.length === 0 ? orgPrefix(this.org) : `${orgKey(this.org, ...under)}/`;
    return this.#walk(prefix, join(this.#orgFolder(), ...under.map(folderName)));
  };

  copy: OrgObjects['copy'] = async (from, to) => {
    const source = this.#key('read', from);
    const key = this.#key('write', to);
    const file = await this.#open(source);
    try {
      return await this.#write(key, bytesOf(file, 0, Number.MAX_SAFE_INTEGER), false);
    } finally {
      await file.close(); // the target may be refused before anything is read
    }
  };

  delete: OrgObjects['delete'] = async (name) => {
    const key = this.#key('delete', name);
    const path = this.#path(key);
    if (await this.#within(dirname(path))) await rm(path, { force: true });
  };

  #key(operation: StorageOperation, name: ObjectKey): string {
    requireOperation(this.#operations, operation);
    return ownKey(this.org, name);
  }

  #orgFolder(): string {
    return join(this.#root, 'org', this.org);
  }

  #path(key: string): string {
    const { segments } = parseOrgKey(key);
    const file = `f-${segments.at(-1)}`;
    return join(this.#orgFolder(), ...segments.slice(0, -1).map(folderName), file);
  }

  /** True when `folder` is there and is what its path says; a symbolic link on the way is refused. */
  async #within(folder: string): Promise<boolean> {
    const root = await realpath(this.#root);
    const real = await realpath(folder).catch(absent);
    if (real === undefined) return false;
    if (real === join(root, folder.slice(this.#root.length))) return true;
    throw failure('tenancy.storage_denied', 'following a symbolic link', this.org);
  }

  async #open(key: string): Promise<FileHandle> {
    const path = this.#path(key);
    const file = (await this.#within(dirname(path))) ? await open(path, READ_ONLY).catch(absent) : undefined;
    if (file === undefined) throw failure('tenancy.storage_not_found', 'reading', this.org);
    return file;
  }

  /** Written under a name no key has, then put in place in one step. */
  async #write(
    key: string,
    body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    ifAbsent: boolean,
  ): Promise<string> {
    const path = this.#path(key);
    const folder = dirname(path);
    await this.#makeFolder(folder);
    const temporary = join(folder, `t-${randomUUID()}`);
    try {
      await writeFile(temporary, body);
      if (!ifAbsent) await rename(temporary, path);
      else if ((await link(temporary, path).then(() => true, taken)) === false) {
        throw failure('tenancy.storage_precondition_failed', 'put', this.org);
      }
      return key;
    } finally {
      await rm(temporary, { force: true });
    }
  }

  /** Level by level: making all at once would follow a link on the way. */
  async #makeFolder(folder: string): Promise<void> {
    if (await this.#within(folder)) return;
    if (folder === this.#root) throw failure('tenancy.storage_unavailable', 'finding the root', this.org);
    await this.#makeFolder(dirname(folder));
    await mkdir(folder, { mode: 0o700 }).catch(taken);
    await this.#within(folder);
  }

  async *#walk(prefix: string, folder: string): AsyncGenerator<ObjectInfo, void, undefined> {
    if (!(await this.#within(folder))) return;
    const entries: { segment: string; isFolder: boolean }[] = [];
    for await (const entry of await opendir(folder)) {
      const segment = entry.name.slice(2);
      if (entry.isFile() && entry.name.startsWith('f-')) entries.push({ segment, isFolder: false });
      if (entry.isDirectory() && entry.name.startsWith('d-')) {
        entries.push({ segment: `${segment}/`, isFolder: true });
      }
    }
    entries.sort((a, b) => Buffer.compare(Buffer.from(a.segment), Buffer.from(b.segment)));
    for (const { segment, isFolder } of entries) {
      if (isFolder) {
        yield* this.#walk(prefix + segment, join(folder, folderName(segment.slice(0, -1))));
        continue;
      }
      const key = prefix + segment;
      const file = await open(join(folder, `f-${segment}`), READ_ONLY).catch(absent);
      if (file === undefined) continue;
      try {
        yield await infoOf(key, file);
      } finally {
        await file.close();
      }
    }
  }
}

/** Writes a new file to the disk. */
async function writeFile(
  path: string,
  body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  const file = await open(path, CREATE, 0o600);
  try {
    for await (const chunk of body) {
      if (!(chunk instanceof Uint8Array)) throw new TypeError('a body yields Uint8Array chunks');
      await file.writeFile(chunk);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

function folderName(segment: string): string {
  return `d-${segment}`;
}

/** A rewritten object is another file: inode and time of change tell the contents apart without reading them. */
async function infoOf(key: string, file: FileHandle): Promise<ObjectInfo> {
  const { ino, size, mtimeNs, mtime } = await file.stat({ bigint: true });
  const etag = `"${[ino, mtimeNs, size].map((part) => part.toString(16)).join('-')}"`;
  return { key, size: Number(size), etag, modified: mtime };
}

/** Bytes `first` to `last`, both included; closes the file at the end or on cancellation. */
function bytesOf(file: FileHandle, first: number, last: number): ReadableStream<Uint8Array> {
  let position = first;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const length = Math.min(CHUNK, last - position + 1);
        const chunk = new Uint8Array(Math.max(length, 0));
        let bytesRead = 0;
        try {
          if (length > 0) ({ bytesRead } = await file.read(chunk, 0, length, position));
        } finally {
          if (bytesRead === 0) await file.close(); // at the end, and when reading failed
        }
        if (bytesRead === 0) {
          controller.close();
          return;
        }
        position += bytesRead;
        controller.enqueue(chunk.subarray(0, bytesRead));
      },
      async cancel() {
        await file.close();
      },
    },
    { highWaterMark: 0 },
  );
}

/** For a path that is not there. ELOOP: the file itself is a symbolic link, which no call here makes. */
function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR' && error.code !== 'ELOOP') throw error;
}

function taken(error: NodeJS.ErrnoException): false {
  if (error.code !== 'EEXIST') throw error;
  return false;
}

function failure(code: TenancyErrorCode, what: string, org: OrgId): RingfenceTenancyError {
  return new RingfenceTenancyError(code, `object directory: ${what} of organisation ${org} failed`);
}
