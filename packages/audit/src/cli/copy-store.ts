/** The store that a command names: `--bucket` or `--directory`. Only who names a bucket loads the SDK. */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { directoryStore } from '../write-once/directory-store.ts';
import type { WriteOnceStore } from '../write-once/store.ts';
import { CliError, type CliIo } from './command.ts';

/** Options that name a store. */
export interface CopyStoreOptions {
  /** `s3://name` or `s3://name/prefix`. */
  readonly bucket?: string | undefined;
  /** A directory instead. */
  readonly directory?: string | undefined;
  /** An S3 server other than Amazon's. */
  readonly endpoint?: string | undefined;
}

/** Connects to the store that the options name, to read. */
export async function copyStore(
  { bucket, directory, endpoint }: CopyStoreOptions,
  io: CliIo,
): Promise<{ readonly store: WriteOnceStore; close(): void }> {
  if ((bucket === undefined) === (directory === undefined)) {
    throw new CliError('a copy is either in --bucket or in --directory');
  }
  if (bucket === undefined) {
    const root = resolve(io.directory, directory ?? '');
    // A path that was typed wrong would look like a copy that holds nothing, and a restore from it like one that is done.
    if (!(await isDirectory(root))) throw new CliError(`there is no directory ${root}`, 'cli.file');
    return { store: directoryStore({ root }), close: () => {} };
  }
  const [matched, name = '', prefix] = /^s3:\/\/([^/]+)(?:\/(.+))?$/.exec(bucket) ?? [];
  if (matched === undefined) throw new CliError('--bucket is s3://name or s3://name/prefix');
  const { lockedBucket } = await import('../s3/locked-bucket.ts');
  const s3 = endpoint === undefined ? {} : { endpoint, forcePathStyle: true };
  const store = lockedBucket({
    s3,
    bucket: name,
    mode: 'compliance',
    ...(prefix === undefined ? {} : { prefix }),
  });
  return { store, close: () => store.close() };
}

async function isDirectory(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
