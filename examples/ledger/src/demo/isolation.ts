/**
 * Isolation, inspected and attacked: the doctor examines the running database, the probe attacks every table of it, and a
 * table whose policy somebody opened is found by both and mended from the declaration.
 */
import { type DoctorReport, runDoctor } from '@ringfence/tenancy/doctor';
import { applyMigration, type TenancySchema } from '@ringfence/tenancy/policies';
import { type ProbeReport, probe } from '@ringfence/tenancy/testing';
import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import type { Ledger } from '../ledger.ts';
import { NORTHWIND } from '../provision.ts';
import { NOT_STOPPED, type Outcome, type Scene } from './scene.ts';

/** What the scenes work on. */
export interface IsolationStage {
  readonly ledger: Ledger;
  /** The declaration the database is held against. */
  readonly schema: TenancySchema;
  readonly ownerUrl: string;
  readonly superuserUrl: string;
}

async function withDatabase<T>(url: string, run: (db: Kysely<unknown>) => Promise<T>): Promise<T> {
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  pool.on('error', () => {});
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  try {
    return await run(db);
  } finally {
    await db.destroy();
  }
}

function examined({ ownerUrl, schema, ledger }: IsolationStage): Promise<DoctorReport> {
  const app = ledger.tenancy.forOrg(NORTHWIND.id, { actor: 'system:doctor', kind: 'system' });
  return withDatabase(ownerUrl, (db) => runDoctor({ db, schema, app }));
}

function probed({ superuserUrl, schema }: IsolationStage): Promise<ProbeReport> {
  return withDatabase(superuserUrl, (owner) => probe({ owner, schema }));
}

const crossings = ({ attacks }: ProbeReport) => attacks.filter(({ outcome }) => outcome === 'crossed').length;
const isClean = ({ counts }: DoctorReport) => counts.error === 0 && counts.warning === 0;

function outcome(good: boolean, code: string, answer: string): Outcome {
  return { stopped: good, code: good ? code : NOT_STOPPED, answer };
}

async function doctorScene(stage: IsolationStage): Promise<Outcome> {
  const report = await examined(stage);
  const { rules, orgTables, plans, counts } = report;
  const found = `${counts.error} errors, ${counts.warning} warnings, ${counts.note} notes`;
  return outcome(
    isClean(report),
    'clean',
    `${rules} rules on ${orgTables} tables and ${plans} plans: ${found}`,
  );
}

async function probeScene(stage: IsolationStage): Promise<Outcome> {
  const report = await probed(stage);
  const { attacks, tables, clean, durationMs } = report;
  const answer = `${attacks.length} attacks on ${tables} tables in ${Math.round(durationMs)} ms, rolled back: ${crossings(report)} crossed`;
  return outcome(clean, 'clean', answer);
}

/** The mistake is a common one: a policy gets in the way of a report, and somebody opens it for an afternoon. */
async function openedPolicy(stage: IsolationStage): Promise<Outcome> {
  const { ownerUrl, schema } = stage;
  await withDatabase(ownerUrl, (owner) =>
    sql
      .raw(
        `drop policy ringfence_org on ledger.entry; create policy report on ledger.entry to "${schema.appRole}" using (true)`,
      )
      .execute(owner),
  );
  const [doctor, attacked] = [await examined(stage), await probed(stage)];
  const left = await withDatabase(ownerUrl, (owner) => applyMigration(owner, schema));
  const [doctorAfter, attackedAfter] = [await examined(stage), await probed(stage)];
  const found = doctor.counts.error > 0 && crossings(attacked) > 0;
  const mended = left.length === 0 && isClean(doctorAfter) && attackedAfter.clean;
  const rules = [
    ...new Set(doctor.findings.filter(({ level }) => level === 'error').map(({ rule }) => rule)),
  ];
  return outcome(
    found && mended,
    'mended',
    `doctor: ${rules.join(', ')}; probe: ${crossings(attacked)} attacks crossed; mended from the declaration, both clean again`,
  );
}

/** The scenes in order, each with the code it must end with. */
export const isolation: readonly Scene<IsolationStage>[] = [
  { name: 'The doctor examines the database against its declaration', expected: 'clean', run: doctorScene },
  { name: 'The probe attacks every table as the app role', expected: 'clean', run: probeScene },
  {
    name: 'The owner drops the policy of ledger.entry and opens the table for a report',
    expected: 'mended',
    run: openedPolicy,
  },
];
