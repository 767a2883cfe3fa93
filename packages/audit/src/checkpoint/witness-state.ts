/**
 * A witness's heads in one file: written aside, flushed, renamed over the old one, directory flushed. So after a crash
 * the file holds the old heads or the new ones, and never forgets a head it has cosigned.
 *
 * Invariants: a file that cannot be read is an error, never an empty state; a head is written only while the lock is this
 * opener's own and the file holds what it judged by.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { base64Of, bytesOfBase64 } from '../verify/base64.ts';
import type { WitnessedHead, WitnessState } from './witness.ts';

/** A state that is kept in a file. */
export interface FileWitnessState extends WitnessState {
  /** Gives the file free for another process. */
  close(): void;
}

/**
 * Opens the state in a file, which is made by the first head.
 *
 * @throws Error when the file is damaged, or another process that is alive has it.
 */
export function fileWitnessState(path: string): FileWitnessState {
  const lock = `${path}.lock`;
  const holder = takeLock(lock);
  const holds = () => textOf(lock) === holder;
  let heads: Map<string, WitnessedHead>;
  try {
    heads = readHeads(path);
  } catch (error) {
    unlinkSync(lock);
    throw error;
  }
  return {
    read: (origin) => heads.get(origin),
    write: async (origin, head) => {
      // Another container's process may have this one's id, so that a live holder passes for a dead one.
      if (!holds()) throw new Error(`another witness has taken ${path}: this one cosigns no more`);
      if (!sameHeads(readHeads(path), heads))
        throw new Error(`${path} was changed by somebody else: this witness cosigns no more`);
      const next = new Map(heads).set(origin, head);
      await replace(
        path,
        `${JSON.stringify({ v: 1, logs: Object.fromEntries([...next].map(encoded)) })}\n`,
        holds,
      );
      heads = next;
    },
    close: () => {
      if (holds()) unlinkSync(lock);
    },
  };
}

function sameHeads(
  one: ReadonlyMap<string, WitnessedHead>,
  other: ReadonlyMap<string, WitnessedHead>,
): boolean {
  const text = (heads: ReadonlyMap<string, WitnessedHead>) => JSON.stringify([...heads].map(encoded));
  return text(one) === text(other);
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // no lock, or none that can be read: not ours
  }
}

async function replace(path: string, text: string, allowed: () => boolean): Promise<void> {
  const aside = `${path}.new`;
  const file = await open(aside, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  if (!allowed()) throw new Error(`another witness has taken ${path}: this one cosigns no more`);
  await rename(aside, path);
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function readHeads(path: string): Map<string, WitnessedHead> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
    throw error;
  }
  try {
    const { v, logs } = JSON.parse(text) as { v: unknown; logs: Record<string, unknown> };
    if (v !== 1) throw new TypeError('unknown version');
    return new Map(Object.entries(logs).map(([origin, head]) => [origin, decoded(head)]));
  } catch (cause) {
    throw new Error(`the witness state ${path} is damaged: restore it, a witness must not forget`, { cause });
  }
}

function encoded([origin, { size, root, note }]: [string, WitnessedHead]) {
  return [origin, { size, root: base64Of(root), note }] as const;
}

function decoded(value: unknown): WitnessedHead {
  const { size, root: base64, note } = value as { size: unknown; root: unknown; note: unknown };
  const root = typeof base64 === 'string' ? bytesOfBase64(base64) : undefined;
  if (
    !Number.isSafeInteger(size) ||
    (size as number) < 0 ||
    root?.length !== 32 ||
    typeof note !== 'string'
  ) {
    throw new TypeError('not a head');
  }
  return { size: size as number, root, note };
}

/**
 * Takes the lock and returns what stands in it: the process and a random number. A lock left by a process that is gone, or
 * that had this one's id in another container, is taken over; if its holder lives after all, it sees that at its next head.
 */
function takeLock(lock: string): string {
  const mine = `${process.pid} ${randomUUID()}`;
  for (;;) {
    try {
      writeFileSync(lock, mine, { flag: 'wx', mode: 0o600 });
      return mine;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = Number((textOf(lock) ?? '').split(' ')[0]);
    if (holder !== process.pid && isAlive(holder)) {
      throw new Error(`process ${holder} has the witness state: ${lock}`);
    }
    unlinkSync(lock);
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
