/** Logs with a past: events that were recorded long ago, signed and copied, and a handle of the role that prunes. */
import { type Kysely, sql } from 'kysely';
import type { QueryExecutor } from '../src/executor.ts';
import type { OrgId } from '../src/index.ts';
import type { WriteOnceStore } from '../src/write-once/index.ts';
import { bucketAt, type CopyFixture, copyFixture } from './copy-fixture.ts';
import { kyselyOf, type Tables } from './fixture.ts';
import { type LoopbackS3, loopbackS3 } from './loopback-s3.ts';

/** Days ago that the old events of these tests were recorded. */
const OLD_DAYS = 400;

export interface RetentionFixture extends CopyFixture {
  readonly store: WriteOnceStore;
  /** What the store holds, by key. */
  readonly objects: LoopbackS3['objects'];
  readonly pruner: Kysely<Tables>;
  /** A handle of the retention role in the context of an organisation. */
  pruning(org: OrgId, actor?: string): QueryExecutor;
  /** Runs with a database whose events are recorded as of so many days ago. */
  inThePast<T>(run: () => Promise<T>, days?: number): Promise<T>;
  /** An organisation with so many old and so many new events, signed and copied. */
  log(old: number, fresh: number): Promise<OrgId>;
}

export async function retentionFixture(serverUrl: string): Promise<RetentionFixture> {
  const base = await copyFixture(serverUrl, 365);
  const s3: LoopbackS3 = await loopbackS3();
  const store = bucketAt(s3.endpoint);
  const pruner = kyselyOf<Tables>(base.database.retentionUrl, 4);
  const define = (from: string, to: string) =>
    base.superuser.transaction().execute(async (trx) => {
      for (const name of ['append', 'append_from_template', 'append_with_personal', 'append_unchecked']) {
        const { rows } = await sql<{ ddl: string }>`
          select pg_get_functiondef(oid) as ddl from pg_proc where pronamespace = 'audit'::regnamespace and proname = ${name}`.execute(
          trx,
        );
        await sql.raw((rows[0]?.ddl ?? '').replaceAll(from, to)).execute(trx);
      }
    });
  const inThePast: RetentionFixture['inThePast'] = async (run, days = OLD_DAYS) => {
    const then = `(clock_timestamp() - interval '${days} days')`;
    await define('clock_timestamp()', then);
    try {
      return await run();
    } finally {
      await define(then, 'clock_timestamp()');
    }
  };
  return {
    ...base,
    store,
    objects: s3.objects,
    pruner,
    inThePast,
    pruning: (org, actor = 'system:retention') => ({
      isTransaction: false,
      executeQuery: (query) =>
        pruner.transaction().execute(async (trx) => {
          await sql`select set_config('ringfence.org_id', ${org}, true), set_config('ringfence.actor', ${actor}, true)`.execute(
            trx,
          );
          return await trx.executeQuery(query);
        }),
    }),
    log: async (old, fresh) => {
      const org = await base.org(0);
      await inThePast(() => base.grow(org, old));
      if (fresh > 0) await base.grow(org, fresh);
      await base.checkpointer.checkpoint(org);
      await base.copyTo(store).copy(org);
      return org;
    },
    close: async () => {
      await pruner.destroy();
      await s3.close();
      await base.close();
    },
  };
}
