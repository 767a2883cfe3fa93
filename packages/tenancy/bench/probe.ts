/**
 * The probe on 500 org-owned tables: what a pipeline waits for. No peer attacks a whole schema; the limit is what it costs to
 * read the catalog and the structure of these tables, which a probe of any kind has to do.
 */
import { sql } from 'kysely';
import type { BenchCase } from '../../../tools/bench/suite.ts';
import { startEmbedded } from '../../../tools/postgres.ts';
import { readCatalog } from '../src/catalog/read-catalog.ts';
import { checked, type SchemaDeclaration } from '../src/policies/declaration.ts';
import { orgTablePolicy } from '../src/policies/index.ts';
import { formatProbeReport, probe } from '../src/probe/index.ts';
import { probeDatabase } from '../test/probe-fixture.ts';

const TABLES = 500;

/** Every second table refers to the one before it; all have a unique constraint, a check and a few common types. */
function tables(app: string): { ddl: string; org: SchemaDeclaration['org'] } {
  const org: Record<string, { key: string[] }> = {};
  const ddl: string[] = [];
  for (let number = 0; number < TABLES; number++) {
    const name = `app.t${number}`;
    const parent =
      number % 2 === 1
        ? `, parent_id uuid not null, foreign key (org_id, parent_id) references app.t${number - 1} (org_id, id)`
        : '';
    ddl.push(
      `create table ${name} (org_id uuid not null, id uuid not null, name text not null, status text not null default 'open'
        check (status in ('open', 'closed')), amount numeric(12, 2) not null check (amount > 0), at timestamptz not null default now(),
        primary key (org_id, id), unique (org_id, name)${parent});`,
      orgTablePolicy({ table: name, appRole: app }),
    );
    org[name] = { key: ['id'] };
  }
  return { ddl: ddl.join('\n'), org };
}

/** `probe-500`: milliseconds of one whole probe of 500 tables, from BEGIN to ROLLBACK. */
export const probe500: BenchCase = {
  id: 'probe-500',
  unit: 'ms',
  rounds: 5,
  prepare: async () => {
    const server = await startEmbedded();
    const fixture = await probeDatabase(server.url);
    const { ddl, org } = tables(fixture.database.app);
    await fixture.ddl(ddl);
    const schema = checked({
      appRole: fixture.database.app,
      org,
      systemSchemas: { tenancy: { reason: 'keys of the context' } },
    });
    return {
      subjects: [
        {
          name: 'ringfence',
          measure: async () => {
            const report = await probe({ owner: fixture.superuser, schema });
            if (!report.clean || report.tables !== TABLES) throw new Error(formatProbeReport(report));
            return report.durationMs;
          },
        },
        {
          name: 'catalog alone',
          measure: async () => {
            const start = performance.now();
            await readCatalog(fixture.superuser);
            await sql`select 1`.execute(fixture.superuser);
            return performance.now() - start;
          },
        },
      ],
      close: async () => {
        await fixture.close();
        await server.stop();
      },
    };
  },
};
