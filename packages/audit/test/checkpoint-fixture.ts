/** The audit fixture with a checkpointer of its own role, and a quick way to many events. */
import { generateKeyPairSync } from 'node:crypto';
import { type Kysely, sql, type Transaction } from 'kysely';
import {
  type Checkpointer,
  type CheckpointerOptions,
  createCheckpointer,
  localSigner,
  type Signer,
  verifierKeyOf,
} from '../src/checkpoint/index.ts';
import { type OrgId, parseOrgId } from '../src/index.ts';
import { parseVerifierKey, type VerifierKey } from '../src/verify/signed-note.ts';
import { type Fixture, fixture, kyselyOf, type Tables } from './fixture.ts';

export const ORIGIN = 'ledger.example/audit';

const GUARDED = ['event', 'seal', 'checkpoint', 'tile', 'cosignature', 'deployment_entry'];

export interface CheckpointFixture extends Fixture {
  /** The checkpointer's role. */
  readonly signing: Kysely<Tables>;
  readonly signer: Signer;
  /** The signer's private key. */
  readonly pem: string;
  readonly key: VerifierKey;
  readonly checkpointer: Checkpointer;
  /** A checkpointer of another process: it remembers nothing. */
  another(options?: Partial<CheckpointerOptions>): Checkpointer;
  /** A new organisation with so many sealed events. */
  org(events: number): Promise<OrgId>;
  grow(org: OrgId, events: number): Promise<void>;
  /** As a superuser with triggers and checks off. */
  tamper(run: (trx: Transaction<Tables>) => Promise<unknown>): Promise<void>;
}

export async function checkpointFixture(
  serverUrl: string,
  retentionDays?: number,
): Promise<CheckpointFixture> {
  const base = await fixture(serverUrl, undefined, retentionDays);
  const signing = kyselyOf<Tables>(base.database.keysUrl, 12);
  const { privateKey } = generateKeyPairSync('ed25519');
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  const signer = localSigner({ name: ORIGIN, privateKey: pem });
  const another: CheckpointFixture['another'] = (options = {}) =>
    createCheckpointer({ db: signing, signer, origin: ORIGIN, ...options });
  const grow: CheckpointFixture['grow'] = async (org, events) => {
    await base.inOrg(org, async (trx) => {
      for (let left = events; left > 0; left--) {
        const event = base.audit.prepare('entry.approved', { target: `e${left}`, outcome: 'success' });
        await trx.executeQuery(event.query);
      }
    });
    await base.audit.sealPending();
  };
  let count = 0;
  return {
    ...base,
    signing,
    signer,
    pem,
    key: parseVerifierKey(verifierKeyOf(signer)),
    checkpointer: another(),
    another,
    grow,
    org: async (events) => {
      const org = parseOrgId(`0190f5d2-7b1c-7d34-9a52-${String(++count).padStart(12, '0')}`);
      if (events > 0) await grow(org, events);
      return org;
    },
    tamper: (run) =>
      base.superuser.transaction().execute(async (trx) => {
        for (const table of GUARDED) {
          await sql.raw(`alter table audit.${table} disable trigger user`).execute(trx);
        }
        await run(trx);
        for (const table of GUARDED) {
          for (const guard of ['refuse_row_change', 'refuse_change']) {
            await sql.raw(`alter table audit.${table} enable always trigger ${guard}`).execute(trx);
          }
        }
      }),
    close: async () => {
      await signing.destroy();
      await base.close();
    },
  };
}
