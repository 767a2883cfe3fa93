/** The credential store on PostgreSQL: sealed bytes of one organisation, one version after the other, gone when revoked. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type OrgId, parseOrgId } from '../src/index.ts';
import { type CredentialSealer, createCredentials, Secret } from '../src/keys/index.ts';
import { credentialStoreCases } from '../src/testing/index.ts';
import { KeyDatabase, refusalOf } from './postgres-fixture.ts';

let db: KeyDatabase;
beforeAll(async () => {
  db = await KeyDatabase.create('authz_credentials');
});
afterAll(async () => await db?.drop());

/** No cipher: what is stored is looked at. */
const open: CredentialSealer = {
  seal: async (_org, plaintext) => plaintext,
  open: async (_org, sealed) => sealed,
};
const freshOrg = (): OrgId => parseOrgId(randomUUID());
const credential = (org: OrgId) => ({
  id: randomUUID(),
  org,
  provider: 'plaid',
  sealed: Uint8Array.of(0, 1, 255),
  version: 1,
  scopes: ['transactions', 'a,"b'],
  rotateAfterMs: 90 * 86_400_000 + 1,
  rotatedAt: 1_800_000_000_123,
});

describe('the store on PostgreSQL', () => {
  for (const { name, run } of credentialStoreCases()) test(name, async () => await run(db.credentials));
});

test('a credential is added, used, rotated and revoked through it', async () => {
  const credentials = createCredentials({
    sealer: open,
    store: db.credentials,
    report: async () => undefined,
  });
  const org = freshOrg();
  const id = await credentials.add({ ...credential(org), secret: new Secret('żółw') });
  const use = { org, id, scope: 'transactions', actor: 'job', purpose: 'import' };
  expect(await credentials.use(use, async (secret) => secret.reveal())).toBe('żółw');
  await credentials.rotate({ org, id }, new Secret('second'));
  expect(await credentials.use(use, async (secret) => secret.reveal())).toBe('second');
  await credentials.revoke({ org, id });
  await expect(credentials.use(use, async () => undefined)).rejects.toMatchObject({ reason: 'revoked' });
});

describe('a credential that is stored', () => {
  test.each([
    ['other sealed bytes under its version', "sealed = '\\x00'"],
    ['a version that skips one', 'version = version + 2'],
    ['an earlier version', 'version = version - 1'],
    ['another organisation', 'org_id = gen_random_uuid()'],
    ['more scopes', "scopes = array_append(scopes, 'payments')"],
  ])('gets not even from the owner: %s', async (_what, change) => {
    const stored = credential(freshOrg());
    const { org, id } = stored;
    await db.credentials.insert(stored);
    await db.credentials.replace({ org, id, from: 1, sealed: Uint8Array.of(9), rotatedAt: 1 });
    const update = `update authz.credential set ${change} where id = '${id}'`;
    expect(await refusalOf(db.owner.query(update))).toBe('42501 authz.credential_is_kept');
  });

  test('comes back to life by nobody', async () => {
    const stored = credential(freshOrg());
    const { org, id } = stored;
    await db.credentials.insert(stored);
    await db.credentials.revoke(org, id, 1_000);
    for (const change of ['revoked_at = null', "revoked_at = null, sealed = '\\x00'", 'version = 2'])
      expect(
        await refusalOf(db.owner.query(`update authz.credential set ${change} where id = '${id}'`)),
      ).toBe('42501 authz.credential_is_kept');
  });
});
