/**
 * What a store of API keys must do, as cases for the test runner of whoever writes one. Each case makes its own
 * organisations and keys, so that all of them can run on one database. A case that fails rejects and says what was broken.
 */
import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import type { ApiKeyRecord, ApiKeyStore } from '../keys/key-store.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';

/** One thing a store must do. */
export interface KeyStoreCase {
  /** What, as a sentence. */
  readonly name: string;
  /** Tries it; rejects when the store does something else. */
  run(store: ApiKeyStore): Promise<void>;
}

const NOW = 1_800_000_000_000;
const HOUR = 3_600_000;
const ADA = { issuer: 'https://id.example.com', subject: 'ada' };

/**
 * The cases.
 *
 * @example
 * ```ts
 * for (const { name, run } of keyStoreCases()) test(name, () => run(myStore));
 * ```
 */
export function keyStoreCases(): readonly KeyStoreCase[] {
  return [
    {
      name: 'gives back what was stored, byte by byte, and nothing for another id',
      run: async (store) => {
        const key = record();
        strictEqual(await store.insert(key), 'stored');
        deepStrictEqual(plain(await store.find(key.id)), plain(key));
        deepStrictEqual((await store.list(key.org)).map(plain), [plain(key)]);
        strictEqual(await store.find(freshId()), undefined);
        deepStrictEqual(await store.list(freshOrg()), []);
      },
    },
    {
      name: 'carries a request out once in an organisation, also when it comes several times at once',
      run: async (store) => {
        const first = record();
        const again = Array.from({ length: 8 }, () => ({ ...first, id: freshId() }));
        const outcomes = await Promise.all([first, ...again].map((each) => store.insert(each)));
        deepStrictEqual(outcomes.toSorted(), [...again.map(() => 'replayed'), 'stored']);
        strictEqual((await store.list(first.org)).length, 1);
        strictEqual(await store.insert(record({ requestId: first.requestId })), 'stored');
      },
    },
    {
      name: 'lets one of several rotations at once store its successor, and the others nothing',
      run: async (store) => {
        const old = record();
        await store.insert(old);
        const { org, id } = old;
        const outcomes = await Promise.all(
          Array.from({ length: 8 }, () =>
            store.rotate({ org, id, successor: record({ org }), overlapUntil: NOW + HOUR }),
          ),
        );
        strictEqual(outcomes.filter((outcome) => outcome === 'stored').length, 1);
        strictEqual(outcomes.filter((outcome) => outcome === 'conflict').length, 7);
        const { successor, overlapUntil } = (await store.find(id)) ?? {};
        strictEqual(overlapUntil, NOW + HOUR);
        deepStrictEqual((await store.list(org)).map((key) => key.id).toSorted(), [id, successor].toSorted());
      },
    },
    {
      name: 'rotates no key of another organisation, none that was revoked or has expired, and no request twice',
      run: async (store) => {
        const key = record();
        const { org, id } = key;
        await store.insert(key);
        const successor = record({ org });
        const rotation = { org, id, successor, overlapUntil: NOW + HOUR };
        strictEqual(await store.rotate({ ...rotation, org: freshOrg() }), 'conflict');
        const late = { ...successor, createdAt: key.expiresAt };
        strictEqual(await store.rotate({ ...rotation, successor: late }), 'conflict');
        const replayed = { ...successor, requestId: key.requestId };
        strictEqual(await store.rotate({ ...rotation, successor: replayed }), 'replayed');
        await store.revoke({ kind: 'key', org, id }, NOW);
        strictEqual(await store.rotate(rotation), 'conflict');
        deepStrictEqual(
          (await store.list(org)).map((each) => each.id),
          [id],
        );
      },
    },
    {
      name: 'revokes what is selected and nothing else, and keeps the first instant',
      run: async (store) => {
        const org = freshOrg();
        const [mine, other] = [record({ org }), record({ org, creator: { ...ADA, subject: 'bob' } })];
        const foreign = record();
        for (const each of [mine, other, foreign]) await store.insert(each);
        const revokedAt = async ({ id }: ApiKeyRecord) => (await store.find(id))?.revokedAt;
        const elsewhere = { kind: 'key', org: foreign.org, id: mine.id } as const;
        deepStrictEqual(await store.revoke(elsewhere, NOW), []);
        strictEqual(await revokedAt(mine), undefined);
        deepStrictEqual(await store.revoke({ kind: 'creator', org, creator: ADA }, NOW), [mine.id]);
        strictEqual(await revokedAt(other), undefined);
        strictEqual((await store.revoke({ kind: 'org', org }, NOW + 1)).length, 2);
        deepStrictEqual([await revokedAt(mine), await revokedAt(other)], [NOW, NOW + 1]);
        strictEqual(await revokedAt(foreign), undefined);
        await store.revoke({ kind: 'everywhere' }, NOW + 2);
        strictEqual(await revokedAt(foreign), NOW + 2);
      },
    },
    {
      name: 'leaves no successor alive when a rotation and the revocation of the organisation come at once',
      run: async (store) => {
        for (let n = 0; n < 8; n += 1) {
          const { org, id, ...old } = record();
          await store.insert({ org, id, ...old });
          const rotation = { org, id, successor: record({ org }), overlapUntil: NOW + HOUR };
          const steps = [() => store.rotate(rotation), () => store.revoke({ kind: 'org', org }, NOW + 1)];
          await Promise.all((n % 2 === 0 ? steps : steps.toReversed()).map((step) => step()));
          for (const { revokedAt } of await store.list(org)) strictEqual(revokedAt, NOW + 1);
        }
      },
    },
    {
      name: 'answers a request that was carried out before with that, whatever has become of the key since',
      run: async (store) => {
        const key = record();
        const { org, id } = key;
        await store.insert(key);
        const rotation = { org, id, successor: record({ org }), overlapUntil: NOW + HOUR };
        strictEqual(await store.rotate(rotation), 'stored');
        strictEqual(await store.rotate(rotation), 'replayed');
        await store.revoke({ kind: 'org', org }, NOW);
        strictEqual(await store.rotate(rotation), 'replayed');
        strictEqual(await store.insert({ ...key, id: freshId() }), 'replayed');
        strictEqual((await store.list(org)).length, 2);
      },
    },
    {
      name: 'keeps the latest use, whatever order uses arrive in, and none for another organisation',
      run: async (store) => {
        const key = record();
        const { org, id } = key;
        await store.insert(key);
        await store.touch([{ org, id, at: NOW + 5 }]);
        await store.touch([
          { org, id, at: NOW + 3 },
          { org: freshOrg(), id, at: NOW + 9 },
        ]);
        strictEqual((await store.find(id))?.lastUsedAt, NOW + 5);
      },
    },
  ];
}

function record(part: Partial<ApiKeyRecord> = {}): ApiKeyRecord {
  return {
    id: freshId(),
    org: freshOrg(),
    name: 'feed',
    mac: Uint8Array.from(randomBytes(32)),
    pepper: 'p1',
    creator: ADA,
    origin: { mfa: true, ssoConnection: 'conn-1' },
    scope: { roles: ['feed'], actions: ['entry.post'] },
    requestId: randomUUID(),
    createdAt: NOW,
    expiresAt: NOW + 24 * HOUR,
    ...part,
  };
}

function freshId(): string {
  return randomBytes(8).toString('hex');
}

function freshOrg(): OrgId {
  return parseOrgId(randomUUID());
}

/** Bytes as an array: a driver may give a Buffer. */
function plain(key: ApiKeyRecord | undefined): unknown {
  return key === undefined ? undefined : { ...key, mac: [...key.mac] };
}
