/** Started as a child process by the kill test: migrates, and kills itself some time after a step outside `passed` has begun. */
import { type Kysely, sql } from 'kysely';
import { applyMigration } from '../src/policies/index.ts';
import { kyselyOf } from './fixture.ts';
import { BACKFILL, shopSchema } from './migration-setup.ts';

const { url, app, passed, afterMs } = JSON.parse(process.argv[2] ?? '') as {
  readonly url: string;
  readonly app: string;
  readonly passed: readonly string[];
  readonly afterMs: number;
};
const db: Kysely<unknown> = kyselyOf(url, 1);
await sql`select 1`.execute(db);
const GUARD = 'put policy and grants in place in one moment';
let killing = false;
await applyMigration(db, shopSchema(app), {
  backfill: BACKFILL,
  onStep: ({ relation, why }) => {
    const step = `${relation}: ${why}`;
    // A guard is interrupted before it is sent as well, so that every number of guarded tables is seen.
    const unsent = `before ${step}`;
    if (why === GUARD && !passed.includes(unsent)) {
      process.stdout.write(`${unsent}\n`);
      process.kill(process.pid, 'SIGKILL');
    }
    if (killing || passed.includes(step)) return;
    killing = true;
    process.stdout.write(`${step}\n`);
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), afterMs);
  },
});
process.stdout.write('end\n');
process.exit(0);
