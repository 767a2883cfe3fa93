/** What the tests of the keyring share: organisations, a clock that moves on command, a keyring over a faulty KMS. */
import { createHash, randomBytes } from 'node:crypto';
import { createKeyring, type Keyring, type KeyringOptions, type KeyStore, parseOrgId } from '../src/index.ts';
import { localKms } from '../src/local/index.ts';
import { type FaultyKms, faultyKms, memoryKeyStore } from '../src/testing/index.ts';

export const ORG_A: ReturnType<typeof parseOrgId> = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
export const ORG_B: ReturnType<typeof parseOrgId> = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61');
export const CELL = { table: 'invoice', column: 'memo', row: 'row-1' } as const;

/** Two clocks in ms that stand still until they are moved. */
export class FakeClock {
  wall = 1_700_000_000_000;
  monotonic = 5000;
  readonly now = (): number => this.wall;
  readonly monotonicNow = (): number => this.monotonic;

  advance(ms: number): void {
    this.wall += ms;
    this.monotonic += ms;
  }
}

export interface World {
  readonly kms: FaultyKms;
  readonly store: KeyStore;
  readonly clock: FakeClock;
  readonly keyring: Keyring;
  readonly options: KeyringOptions;
}

/** A keyring with two organisations, both created, none leased. */
export async function world(options: Partial<KeyringOptions> = {}): Promise<World> {
  const kms = faultyKms(localKms({ keks: { a: randomBytes(32), b: randomBytes(32) } }));
  const store = options.store ?? memoryKeyStore();
  const clock = new FakeClock();
  const all: KeyringOptions = {
    app: 'test',
    kms: [kms],
    store,
    kekFor: (org) => (org === ORG_A ? 'local:a' : 'local:b'),
    now: clock.now,
    monotonicNow: clock.monotonicNow,
    ...options,
  };
  const keyring = createKeyring(all);
  await keyring.createOrg(ORG_A);
  await keyring.createOrg(ORG_B);
  return { kms, store, clock, keyring, options: all };
}

/** Code of the error a call throws; fails the test when it does not throw. */
export function codeOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
  return 'did not throw';
}

/** Code of the error a promise rejects with. */
export async function codeOfAsync(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'did not reject',
    (error: unknown) => (error as { code?: string }).code ?? String(error),
  );
}

/** Random source that repeats, so that a test can know every byte the keyring made. */
export function knownRandom(seed: string): (buffer: Uint8Array) => void {
  let counter = 0;
  return (buffer) => {
    for (let at = 0; at < buffer.length; at += 32) {
      const block = createHash('sha256').update(`${seed} ${counter}`).digest();
      counter += 1;
      buffer.set(block.subarray(0, Math.min(32, buffer.length - at)), at);
    }
  };
}
