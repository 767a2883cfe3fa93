/**
 * Runs the steps of a migration, each as it has to be run, and asks the catalog again until nothing is left to do.
 *
 * Invariant: there is no state outside the catalog. Killed at any moment, the next run finds what is there and goes on;
 * two runs at once exclude each other.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type Kysely, sql } from 'kysely';
import { readCatalog } from '../catalog/read-catalog.ts';
import { RingfenceTenancyError } from '../errors.ts';
import type { TenancySchema } from './declaration.ts';
import type { Difference, MigrationStep } from './difference.ts';
import { type DifferenceOptions, differences } from './differences.ts';
import { migrationSteps } from './migration-steps.ts';

/** Settings of `applyMigration`. */
export interface ApplyMigrationOptions extends DifferenceOptions {
  /** Called before each step; the step runs when it has resolved. */
  readonly onStep?: (step: MigrationStep) => void | Promise<void>;
  /** How long a step waits for its lock, and makes others wait behind it, before it is tried again, ms. Default 2 000. */
  readonly lockTimeoutMs?: number;
}

/** How often a step is tried while others hold its lock, and the pause between, ms. */
const ATTEMPTS = 60;
const PAUSE_MS = 500;
/** SQLSTATE lock_not_available and deadlock_detected: the step had no effect. */
const AGAIN: ReadonlySet<unknown> = new Set(['55P03', '40P01']);
/** Rounds of asking the catalog: one does the work, the next finds nothing. */
const ROUNDS = 3;

/**
 * Migrates a schema in use to its declaration and gives the differences that are left for a person to decide; none when
 * the schema is covered. Run it as the owner, past any pooler, and run it again when it fails.
 *
 * @throws RingfenceTenancyError `tenancy.migration_blocked`, `tenancy.migration_running`, `tenancy.migration_failed`.
 * @throws TypeError when `backfill` names a table that is not org-owned.
 * @example
 * ```ts
 * const left = await applyMigration(owner, schema, {
 *   backfill: { 'app.note': '(select f.org_id from app.folder f where f.id = note.folder_id)' },
 *   onStep: ({ relation, why }) => console.log(relation, why),
 * });
 * ```
 */
export function applyMigration(
  db: Kysely<unknown>,
  schema: TenancySchema,
  options: ApplyMigrationOptions = {},
): Promise<readonly Difference[]> {
  return db.connection().execute(async (connection) => {
    await takeTurn(connection);
    try {
      // The path, too: under another one `=` may be anybody's operator.
      await sql
        .raw('set lock_timeout = 0; set statement_timeout = 0; set search_path = pg_catalog')
        .execute(connection);
      for (let round = 0; round < ROUNDS; round += 1) {
        const steps = migrationSteps(schema, await readCatalog(connection), options);
        if (steps.length === 0) return differences(schema, await readCatalog(connection), options);
        for (const step of steps) {
          await options.onStep?.(step);
          await run(connection, step, options.lockTimeoutMs ?? 2_000);
        }
      }
      const left = migrationSteps(schema, await readCatalog(connection), options);
      if (left.length === 0) return differences(schema, await readCatalog(connection), options);
      throw new RingfenceTenancyError(
        'tenancy.migration_failed',
        `steps ran and changed nothing, so the connection's role may lack the right: ${left.map(({ relation, why }) => `${relation}: ${why}`).join('; ')}`,
      );
    } finally {
      await sql
        .raw(
          `reset lock_timeout; reset statement_timeout; reset search_path; select pg_advisory_unlock(${TURN})`,
        )
        .execute(connection);
    }
  });
}

const TURN = `hashtextextended('ringfence tenancy migration', 0)`;

/**
 * Takes the lock that excludes other runs, and what a killed one may have left running in the server. Asked again and
 * again rather than waited for: a waiting statement would itself hold up CREATE INDEX CONCURRENTLY.
 */
async function takeTurn(connection: Kysely<unknown>): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const { rows } = await sql
      .raw<{ taken: boolean }>(`select pg_try_advisory_lock(${TURN}) as taken`)
      .execute(connection);
    if (rows[0]?.taken === true) return;
    await delay(PAUSE_MS);
  }
  throw new RingfenceTenancyError(
    'tenancy.migration_running',
    'another migration of this database is running, or the last statement of a killed one still is',
    { retryable: true },
  );
}

async function run(connection: Kysely<unknown>, step: MigrationStep, lockTimeoutMs: number): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      if (step.transaction === 'none') {
        await sql.raw(step.sql).execute(connection);
      } else {
        await connection.transaction().execute(async (trx) => {
          await sql.raw(`set local lock_timeout = ${Math.ceil(lockTimeoutMs)}`).execute(trx);
          await sql.raw(step.sql).execute(trx);
        });
      }
      return;
    } catch (error) {
      // A build that gave up leaves an invalid index, which the next run drops: it is not simply tried again.
      const again = AGAIN.has((error as { code?: unknown }).code) && step.phase !== 'index';
      if (!again || attempt === ATTEMPTS) {
        throw new RingfenceTenancyError(
          'tenancy.migration_failed',
          `${step.relation}: the step "${step.why}" failed; mend the cause and run the migration again`,
          { retryable: again, cause: error },
        );
      }
      await delay(PAUSE_MS);
    }
  }
}
