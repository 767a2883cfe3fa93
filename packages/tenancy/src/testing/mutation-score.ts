/**
 * The mutation score of isolation: breaks one thing of a database at a time, in a transaction that is rolled back, and runs
 * what should see it. Every catch is an observation of the mutated database, never a declaration; what was to be seen before
 * the mutation counts for nothing.
 *
 * Invariant: a mutation that could not be made is listed with its reason, not left out.
 */
import { type Kysely, sql } from 'kysely';
import { readCatalog } from '../catalog/read-catalog.ts';
import { examine, readFacts } from '../doctor/index.ts';
import { RingfenceTenancyError } from '../errors.ts';
import { differences } from '../policies/differences.ts';
import { type ProbeOptions, probeWithin } from '../probe/probe.ts';
import type { ProbeReport } from '../probe/report.ts';
import {
  type MutationLayer,
  type MutationTarget,
  mutationSql,
  mutationTarget,
  type SchemaMutation,
} from './mutations/mutation.ts';
import { schemaMutations } from './mutations/schema-mutations.ts';

/** What looks at a mutated database. */
export type Detector =
  /** The comparison of catalog and declaration. */
  | 'differences'
  /** The rules of the doctor. */
  | 'doctor'
  /** The attacks of the probe. */
  | 'probe'
  /** What each org handle sends in front of its first statement, as the app role. */
  | 'connection check';

/** All of them, in the order of the table. */
export const DETECTORS: readonly Detector[] = ['differences', 'doctor', 'probe', 'connection check'];

/** What is scored. */
export interface MutationScoreOptions<DB> extends Omit<ProbeOptions<DB>, 'accepted'> {
  /** What to break. Default: `schemaMutations`. */
  readonly mutations?: readonly SchemaMutation[];
}

/** A mutation that was made, and who saw it. */
export interface Mutant {
  /** Name of the mutation. */
  readonly name: string;
  /** What of isolation it breaks. */
  readonly layer: MutationLayer;
  /** Detectors that saw it, each with what it reports: kinds, rules, attacks, refusals. */
  readonly caughtBy: ReadonlyMap<Detector, readonly string[]>;
  /** True when the probe got from one organisation to another; false when what was left held. */
  readonly crossed: boolean;
}

/** A mutation that was not made. */
export interface SkippedMutation {
  /** Name of the mutation. */
  readonly name: string;
  /** Why. */
  readonly reason: string;
}

/** The score. */
export interface MutationScore {
  /** What was broken, in order. */
  readonly mutants: readonly Mutant[];
  /** What was not. */
  readonly skipped: readonly SkippedMutation[];
  /** What the detectors report without any mutation, which no mutant is credited with. */
  readonly before: ReadonlyMap<Detector, readonly string[]>;
  /** The mutants in Markdown. */
  readonly table: string;
}

/**
 * Breaks a database in every way it knows and tells who sees it. Connect as a superuser; as the owner, the mutations only a
 * superuser can make, and the connection check, are left out. For CI and staging, as the probe is: it takes ACCESS EXCLUSIVE locks.
 *
 * @throws RingfenceTenancyError `tenancy.probe_refused` when the probe cannot run on the database as it is.
 * @throws TypeError when the declaration has no org-owned table, or a mutation names what no schema has.
 * @example
 * ```ts
 * const { mutants, table } = await mutationScore({ owner, schema });
 * const missed = mutants.filter(({ caughtBy }) => caughtBy.size === 0);
 * if (missed.length > 0) throw new Error(table);
 * ```
 */
export async function mutationScore<DB>(options: MutationScoreOptions<DB>): Promise<MutationScore> {
  const { owner, schema, mutations = schemaMutations } = options;
  const { target, superuser, before } = await rolledBack(owner, async (db) => ({
    target: mutationTarget(schema, await readCatalog(db)),
    superuser: await isSuperuser(db),
    before: await observe(db, options, await isSuperuser(db)),
  }));
  const mutants: Mutant[] = [];
  const skipped: SkippedMutation[] = [];
  for (const mutation of mutations) {
    const { name, layer } = mutation;
    const statements = mutationSql(mutation, target);
    if (statements === undefined) skipped.push({ name, reason: 'the schema has no such relation' });
    else if (mutation.as === 'superuser' && !superuser) skipped.push({ name, reason: 'takes a superuser' });
    else {
      await rolledBack(owner, async (db) => {
        const refused = await mutate(db, mutation, statements, target);
        if (refused !== undefined)
          return void skipped.push({ name, reason: `PostgreSQL refuses it: ${refused}` });
        const after = await observe(db, options, superuser);
        const caughtBy = new Map<Detector, readonly string[]>();
        for (const [detector, seen] of after.seen) {
          const old = new Set(before.seen.get(detector)?.map(({ key }) => key));
          const fresh = seen.filter(({ key }) => !old.has(key)).map(({ evidence }) => evidence);
          if (fresh.length > 0) caughtBy.set(detector, [...new Set(fresh)]);
        }
        mutants.push({ name, layer, caughtBy, crossed: after.crossings > before.crossings });
      });
    }
  }
  const keys = [...before.seen].map(([detector, seen]) => [detector, seen.map(({ key }) => key)] as const);
  return {
    mutants,
    skipped,
    before: new Map(keys),
    table: mutantTable(mutants, superuser ? DETECTORS : DETECTORS.slice(0, 3)),
  };
}

async function rolledBack<DB, T>(owner: Kysely<DB>, run: (db: Kysely<unknown>) => Promise<T>): Promise<T> {
  const trx = await owner.startTransaction().execute();
  try {
    return await run(trx as unknown as Kysely<unknown>);
  } finally {
    await trx.rollback().execute();
  }
}

async function isSuperuser(db: Kysely<unknown>): Promise<boolean> {
  const { rows } = await sql<{ is: boolean }>`
    select rolsuper as is from pg_catalog.pg_roles where rolname = current_user`.execute(db);
  return rows[0]?.is === true;
}

/** Makes the mutation as the owner of the tables, so that what it creates has no more rights than theirs; gives the SQLSTATE of a refusal. */
async function mutate(
  db: Kysely<unknown>,
  { as }: SchemaMutation,
  statements: string,
  { owner }: MutationTarget,
): Promise<string | undefined> {
  try {
    if (as === undefined) await sql.raw(`set local role ${owner}`).execute(db);
    await sql.raw(`${statements}\nset local role none`).execute(db);
    return undefined;
  } catch (error) {
    const { code } = (error ?? {}) as { code?: unknown };
    if (typeof code !== 'string' || !/^[0-9A-Z]{5}$/.test(code)) throw error;
    return code;
  }
}

/** One thing a detector reports; the key tells it from the same thing elsewhere. */
interface Sight {
  readonly key: string;
  readonly evidence: string;
}

interface Observation {
  readonly seen: ReadonlyMap<Detector, readonly Sight[]>;
  readonly crossings: number;
}

async function observe(
  db: Kysely<unknown>,
  { schema, rows = {} }: Pick<MutationScoreOptions<unknown>, 'schema' | 'rows'>,
  superuser: boolean,
): Promise<Observation> {
  const seen = new Map<Detector, readonly Sight[]>();
  const catalog = await readCatalog(db);
  const found = differences(schema, catalog);
  seen.set(
    'differences',
    found.map(({ kind, relation }) => ({ key: `${kind} ${relation}`, evidence: kind })),
  );
  const { findings } = examine(catalog, schema, await readFacts(db, schema.appRole));
  seen.set(
    'doctor',
    findings.map(({ name, object }) => ({ key: `${name} ${object}`, evidence: name })),
  );
  if (superuser) seen.set('connection check', await connectionCheck(db, schema.appRole));
  try {
    const report = await probeWithin(db, { schema, rows });
    seen.set('probe', probeSights(report));
    return { seen, crossings: report.attacks.filter(({ outcome }) => outcome === 'crossed').length };
  } catch (error) {
    if (!(error instanceof RingfenceTenancyError && error.code === 'tenancy.probe_refused')) throw error;
    seen.set('probe', [{ key: error.code, evidence: 'refuses to run' }]);
    return { seen, crossings: 0 };
  }
}

/** What the first flight of a handle asserts, as the app role itself; `tenancy.enter` is left out, for it may end the session. */
async function connectionCheck(db: Kysely<unknown>, appRole: string): Promise<readonly Sight[]> {
  await sql`savepoint ringfence_check`.execute(db);
  try {
    await sql`set local session authorization ${sql.id(appRole)}`.execute(db);
    await sql`select tenancy.assert_app_role(), tenancy.assert_session(false)`.execute(db);
    return [];
  } catch (error) {
    const { constraint, code } = (error ?? {}) as { constraint?: unknown; code?: unknown };
    const evidence = String(constraint ?? code);
    return [{ key: evidence, evidence }];
  } finally {
    await sql`rollback to savepoint ringfence_check`.execute(db);
  }
}

function probeSights({ attacks, unprobed }: ProbeReport): readonly Sight[] {
  return [
    ...attacks
      .filter(({ outcome }) => outcome === 'crossed' || outcome === 'inconclusive')
      .map(({ relation, attack, object = '', outcome }) => ({
        key: `${relation} ${attack} ${object} ${outcome}`,
        evidence: outcome === 'crossed' ? attack : `${attack}?`,
      })),
    ...unprobed.map(({ relation }) => ({ key: `${relation} not probed`, evidence: 'not probed' })),
  ];
}

function mutantTable(mutants: readonly Mutant[], detectors: readonly Detector[]): string {
  return markdownTable(
    ['breaks', 'mutation', ...detectors, 'row crossed'],
    mutants.map(({ name, layer, caughtBy, crossed }) => [
      layer,
      name,
      ...detectors.map((detector) => short(caughtBy.get(detector))),
      crossed ? 'yes' : 'no',
    ]),
  );
}

/** The first of several observations, and how many more there are. */
function short([first, ...more]: readonly string[] = []): string {
  return `${first ?? '–'}${more.length === 0 ? '' : ` +${more.length}`}`;
}

/** A table in Markdown. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    .join('\n');
}
