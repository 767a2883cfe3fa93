/** The page docs/authz-keys.md: its code is this code, and it does what the page says. */
// #region ceiling_imports
import { assertWithinCeiling, type OrgId, type Policy } from '@ringfence/authz';
// #endregion

// #region imports
import {
  type ApiKeyStore,
  type ApiKeys,
  type CredentialSealer,
  type CredentialUse,
  createApiKeys,
  createCredentials,
  Secret,
} from '@ringfence/authz/keys';
import type { Revocations, SessionDirectory, VerifiedSession } from '@ringfence/authz/session';
import { memoryCredentialStore } from '@ringfence/authz/testing';
// #endregion

import { createSecretKey, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
import { parseOrgId } from '../src/index.ts';
import { KeyFormat } from '../src/keys/key-format.ts';
import { memoryApiKeyStore } from '../src/testing/index.ts';
import { KeyWorld, type keyResources } from './keys-fixture.ts';
import { ORG_A, TestIssuer } from './session-fixture.ts';

type Role = 'owner' | 'clerk' | 'feed' | 'trainee' | 'vault';
type Ledger = Policy<typeof keyResources, Role>;

// #region setup
export function apiKeys(
  policy: Ledger,
  pepper: Uint8Array,
  app: { store: ApiKeyStore; directory: SessionDirectory<Role>; revocations: Revocations },
): ApiKeys<typeof keyResources> {
  return createApiKeys({
    prefix: 'ldg', // keys read ldg_live_…
    type: 'live',
    peppers: { current: '2026-11', keys: { '2026-11': createSecretKey(pepper) } },
    policy: () => policy,
    ...app, // directory and revocations are those of the session guard
  });
}
// #endregion

type Keys = ReturnType<typeof apiKeys>;

// #region create
export async function createBankFeedKey(keys: Keys, session: VerifiedSession, org: OrgId, requestId: string) {
  const { id, key, expiresAt } = await keys.create({
    session,
    org,
    requestId,
    name: 'bank feed',
    scope: { roles: ['feed'], actions: ['entry.post'] },
    lifetimeMs: 90 * 86_400_000,
  });
  return { id, expiresAt, showOnce: key.reveal() };
}
// #endregion

// #region request
export async function postFromFeed(keys: Keys, bearer: string, entry: { org: OrgId; amountCents: number }) {
  const access = await keys.admit(bearer);
  access.require('entry.post', entry);
  return { ...entry, createdBy: access.actsFor, via: access.key.id };
}
// #endregion

// #region ceiling
export function invite(policy: Ledger, org: OrgId, me: readonly Role[], invited: readonly Role[]): void {
  assertWithinCeiling(policy, 'invitation', { org, roles: me }, { org, roles: invited });
}
// #endregion

// #region credentials
export async function importFrom(
  sealer: CredentialSealer,
  report: (use: CredentialUse) => Promise<void>,
  org: OrgId,
  token: string,
  fetchLines: (token: string) => Promise<string[]>,
) {
  const credentials = createCredentials({ sealer, report, store: memoryCredentialStore() });
  const id = await credentials.add({
    org,
    provider: 'plaid',
    secret: new Secret(token),
    scopes: ['transactions'],
    rotateAfterMs: 90 * 86_400_000,
  });
  const request = { org, id, scope: 'transactions', actor: 'job:import', purpose: 'nightly import' };
  return await credentials.use(request, (secret) => fetchLines(secret.reveal()));
}
// #endregion

const issuer = await TestIssuer.start();
afterAll(async () => await issuer.close());

test('the page shows code that compiles', () => {
  const page = new URL('../../../docs/authz-keys.md', import.meta.url);
  expect(snippetDrift(page, [new URL(import.meta.url)])).toEqual([]);
});

test('the key that the page shows has a fitting checksum, and its parts stand where the page says', () => {
  const page = readFileSync(new URL('../../../docs/authz-keys.md', import.meta.url), 'utf8');
  const [, shown = '', ruler = ''] = /^(ldg_live_\w+)\n(p .*)$/m.exec(page) ?? [];
  expect(new KeyFormat('ldg', 'live').parse(shown)?.id).toBe(shown.slice(9, 25));
  expect(['id', 'secret', 'checksum'].map((part) => ruler.indexOf(part))).toEqual([9, 25, 58]);
});

test('the code of the page does what the page says', async () => {
  const world = new KeyWorld(issuer);
  const { directory, revocations } = world;
  world.clock.wall = Date.now(); // the page uses the clock of the machine
  const keys = apiKeys(world.policy, randomBytes(32), { store: memoryApiKeyStore(), directory, revocations });
  const session = await world.session('olga', { auth_time: undefined });
  const { id, showOnce } = await createBankFeedKey(keys, session, ORG_A, 'request-1');
  expect(showOnce).toMatch(new RegExp(keys.scannerPattern));
  const entry = { org: ORG_A, amountCents: 500, locked: false };
  expect(await postFromFeed(keys, showOnce, entry)).toMatchObject({ createdBy: 'user:olga', via: id });
  await expect(postFromFeed(keys, showOnce, { ...entry, amountCents: 5_000 })).rejects.toMatchObject({
    code: 'authz.denied',
  });
  expect(() => invite(world.policy, ORG_A, ['clerk'], ['owner'])).toThrow(
    expect.objectContaining({ code: 'authz.ceiling_exceeded', breach: 'rights' }),
  );
  expect(() => invite(world.policy, ORG_A, ['owner'], ['clerk'])).not.toThrow();
  const uses: CredentialUse[] = [];
  const identity: CredentialSealer = {
    seal: async (_org, plaintext) => plaintext,
    open: async (_org, sealed) => sealed,
  };
  const org = parseOrgId(ORG_A);
  const lines = await importFrom(
    identity,
    async (use) => void uses.push(use),
    org,
    'token',
    async (t) => [t],
  );
  expect(lines).toEqual(['token']);
  expect(uses).toMatchObject([{ actor: 'job:import', scope: 'transactions' }]);
});
