/**
 * What a store of credentials must do, as cases for the test runner of whoever writes one. Each case makes its own
 * organisations and credentials. A case that fails rejects and says what was broken.
 */
import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { CredentialRecord, CredentialStore } from '../keys/credential-store.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';

/** One thing a store must do. */
export interface CredentialStoreCase {
  /** What, as a sentence. */
  readonly name: string;
  /** Tries it; rejects when the store does something else. */
  run(store: CredentialStore): Promise<void>;
}

const NOW = 1_800_000_000_123;

/**
 * The cases.
 *
 * @example
 * ```ts
 * for (const { name, run } of credentialStoreCases()) test(name, () => run(myStore));
 * ```
 */
export function credentialStoreCases(): readonly CredentialStoreCase[] {
  return [
    {
      name: 'gives back what was stored, byte by byte, and nothing to another organisation',
      run: async (store) => {
        const stored = record();
        const { org, id } = stored;
        await store.insert(stored);
        deepStrictEqual(plain(await store.find(org, id)), plain(stored));
        deepStrictEqual((await store.list(org)).map(plain), [plain(stored)]);
        strictEqual(await store.find(freshOrg(), id), undefined);
        strictEqual(await store.find(org, randomUUID()), undefined);
        deepStrictEqual(await store.list(freshOrg()), []);
      },
    },
    {
      name: 'replaces a version by the next, once, and none for another organisation',
      run: async (store) => {
        const stored = record();
        const { org, id } = stored;
        await store.insert(stored);
        const next = { org, id, from: 1, sealed: Uint8Array.of(2), rotatedAt: NOW + 1 };
        const outcomes = await Promise.all(Array.from({ length: 6 }, () => store.replace(next)));
        strictEqual(outcomes.filter(Boolean).length, 1);
        strictEqual(await store.replace({ ...next, org: freshOrg(), from: 2 }), false);
        strictEqual(await store.replace({ ...next, from: 3 }), false);
        const second = { ...stored, sealed: next.sealed, version: 2, rotatedAt: NOW + 1 };
        deepStrictEqual(plain(await store.find(org, id)), plain(second));
      },
    },
    {
      name: 'deletes the sealed bytes of one that is revoked, keeps the first instant, and revives none',
      run: async (store) => {
        const stored = record();
        const { org, id } = stored;
        await store.insert(stored);
        await store.revoke(freshOrg(), id, NOW);
        deepStrictEqual(plain(await store.find(org, id)), plain(stored));
        await store.revoke(org, id, NOW);
        await store.revoke(org, id, NOW + 1);
        const { sealed: _deleted, ...rest } = stored;
        deepStrictEqual(plain(await store.find(org, id)), plain({ ...rest, revokedAt: NOW }));
        const next = { org, id, from: 1, sealed: Uint8Array.of(2), rotatedAt: NOW + 2 };
        strictEqual(await store.replace(next), false);
      },
    },
  ];
}

function record(): CredentialRecord {
  return {
    id: randomUUID(),
    org: freshOrg(),
    provider: 'plaid',
    sealed: Uint8Array.of(0, 1, 255),
    version: 1,
    scopes: ['transactions', 'a,"b'],
    rotateAfterMs: 90 * 86_400_000 + 1,
    rotatedAt: NOW,
  };
}

function freshOrg(): OrgId {
  return parseOrgId(randomUUID());
}

/** Bytes as an array: a driver may give a Buffer. */
function plain(stored: CredentialRecord | undefined): unknown {
  if (stored?.sealed === undefined) return stored;
  return { ...stored, sealed: [...stored.sealed] };
}
