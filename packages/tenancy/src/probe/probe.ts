/**
 * Attacks every org-owned table of a live schema as the app role, in one transaction that is always rolled back: seeds two
 * synthetic organisations, takes the app role, and tries to get from one to the other. For CI and staging: it writes to every
 * table, holds its locks until the end, and takes ACCESS EXCLUSIVE ones when its own role is bound by row-level security.
 *
 * Invariants: no table is left out in silence; a canary without isolation has to be found, or the result is not believed.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { type Kysely, sql } from 'kysely';
import type { Catalog } from '../catalog/catalog.ts';
import { readCatalog } from '../catalog/read-catalog.ts';
import { RingfenceTenancyError } from '../errors.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import type { TenancySchema } from '../policies/declaration.ts';
import { type AttackedTable, describeTables } from './attacked-table.ts';
import { carryOut, carryOutInTurn, inGroups } from './carry-out.ts';
import { partitionResults } from './partitions.ts';
import { CANARY, CONTEXT, type Orgs, openProbe, type ProbeSession } from './probe-session.ts';
import { compareReading, type Reading, readings, setOff } from './readings.ts';
import { rightAttacks } from './relation-attacks.ts';
import type { Acceptance, AttackResult, ProbeReport, Unprobed } from './report.ts';
import { quoted } from './sample-values.ts';
import { seedFirst } from './seed.ts';
import { ORG_COLUMN } from './seed-order.ts';
import type { RowValues } from './seed-values.ts';
import { quotedName, type Row } from './statements.ts';
import { readStructure, type Structure } from './structure.ts';
import { tableAttacks } from './table-attacks.ts';

/** What to probe, and as whom. */
export interface ProbeOptions<DB> {
  /**
   * A superuser, or the owner of the tables and of schema `tenancy` that has been granted the app role. Takes one connection
   * of its pool.
   */
  readonly owner: Kysely<DB>;
  /** The declared schema. */
  readonly schema: TenancySchema;
  /** Values for tables whose constraints or triggers the probe cannot satisfy, by `schema.table`. */
  readonly rows?: Readonly<Record<string, RowValues>>;
  /** Crossings that are wanted, such as a unique name across all organisations. */
  readonly accepted?: readonly Acceptance[];
}

/** Tables whose attacks travel together: some 1 000 attacks. */
const TABLES_AT_ONCE = 60;
/** Longest wait for a lock, ms: a probe that would block others gives up. */
const LOCK_TIMEOUT_MS = 5_000;
/** Longest single step, ms. */
const STATEMENT_TIMEOUT_MS = 60_000;

/**
 * Probes a database. Rolls back whatever happens; sequences that defaults or triggers advance stay advanced.
 *
 * @throws RingfenceTenancyError `tenancy.probe_refused` when the connection may not seed or take the app role, or when the
 * probe does not find the crossing of its own canary.
 * @throws TypeError when `rows` or `accepted` names a relation that is not in the database.
 * @example
 * ```ts
 * const report = await probe({ owner, schema });
 * console.log(formatProbeReport(report));
 * process.exitCode = report.clean ? 0 : 1;
 * ```
 */
export async function probe<DB>({ owner, ...options }: ProbeOptions<DB>): Promise<ProbeReport> {
  const trx = await owner.startTransaction().execute();
  try {
    return await probeWithin(trx as unknown as Kysely<unknown>, options);
  } finally {
    await trx.rollback().execute();
  }
}

/** Probes within an open transaction, whose end is the caller's: it has to be rolled back. */
export async function probeWithin(
  db: Kysely<unknown>,
  { schema, rows = {}, accepted = [] }: Omit<ProbeOptions<unknown>, 'owner'>,
): Promise<ProbeReport> {
  const started = performance.now();
  await sql
    .raw(`set local lock_timeout = ${LOCK_TIMEOUT_MS}; set local statement_timeout = ${STATEMENT_TIMEOUT_MS};
          set local plan_cache_mode = force_generic_plan; set local jit = off; set local client_min_messages = warning`)
    .execute(db);
  const found = await run(db, schema, rows);
  return reportOf(schema, found, accepted, performance.now() - started);
}

interface Found {
  readonly signed: boolean;
  readonly tables: number;
  readonly attacks: readonly AttackResult[];
  readonly unprobed: readonly Unprobed[];
}

async function run(
  db: Kysely<unknown>,
  schema: TenancySchema,
  rows: Readonly<Record<string, RowValues>>,
): Promise<Found> {
  const { catalog, structure } = await read(db);
  for (const name of Object.keys(rows))
    if (!structure.tables.has(name)) throw new TypeError(`rows: ${name} is not a table of the database`);
  const org = () => parseOrgId(randomUUID());
  const orgs: Orgs = [org(), org(), org()];
  const session = await openProbe(db, schema.appRole, orgs);
  const { names, unprobed } = tablesToProbe(catalog, schema, structure);
  const forced = session.bound
    ? [...structure.tables.values()].filter((table) => table.forced).map((table) => quotedName(table.name))
    : [];
  await force(db, forced, 'no force');
  const seeding = await seedFirst(session, structure, names, orgs, randomBytes(16).toString('hex'), rows);
  const read2 = readings(catalog, schema, orgs[1]);
  const digest = (context: number = CONTEXT.own, wanted: readonly Reading[] = read2) =>
    session.attack(
      wanted.map(({ statement }) => [[context, statement]]),
      true,
    );
  const [first, again] = [await digest(), await digest()];
  const { seeded, unprobed: late, uniques } = await seeding.second();
  await settle(db, forced.length > 0);
  await force(db, forced, 'force');
  await proveCanary(session, orgs);
  const after = await digest();
  const asOwner = read2.filter((reading) => reading.asOwner);
  const [foreign, empty] = [await digest(CONTEXT.foreign, asOwner), await digest(CONTEXT.empty, asOwner)];

  const partitions = await partitionResults(session, catalog, schema, structure, [...names], orgs);
  const describe = describeTables({ catalog, schema, orgs, signed: session.signed, seeding, seeded });
  const attacked = new Set([
    ...names,
    ...[...names].flatMap((name) => structure.tables.get(name)?.partitions ?? []),
  ]);
  const results = await carryOutInTurn(session, [
    ...inGroups(seeded, TABLES_AT_ONCE).map(
      (group) => () => group.flatMap((table) => tableAttacks(describe(table))),
    ),
    () => rightAttacks(catalog, schema, attacked),
  ]);
  const compared = read2.map((reading: Reading, index) =>
    compareReading(
      reading,
      [first[index], again[index], after[index]] as never,
      [foreign[asOwner.indexOf(reading)], empty[asOwner.indexOf(reading)]] as never,
    ),
  );
  return {
    signed: session.signed,
    tables: seeded.length,
    attacks: [...uniques, ...results, ...partitions, ...setOff(catalog, schema, attacked), ...compared],
    unprobed: [...unprobed, ...seeding.unprobed, ...late],
  };
}

/** Reads catalog and structure with names that do not depend on the search path. */
async function read(db: Kysely<unknown>): Promise<{ catalog: Catalog; structure: Structure }> {
  const { rows } = await sql<{ path: string }>`select current_setting('search_path') as path`.execute(db);
  await sql`select set_config('search_path', 'pg_catalog', true)`.execute(db);
  // One is assembled while the server reads the other; the search path is the same for both.
  const [structure, catalog] = await Promise.all([readStructure(db), readCatalog(db)]);
  await sql`select set_config('search_path', ${rows[0]?.path ?? ''}, true)`.execute(db);
  return { catalog, structure };
}

/** The declared org-owned tables that can be attacked; partitions get their rows through their parent. */
function tablesToProbe(
  catalog: Catalog,
  schema: TenancySchema,
  structure: Structure,
): { names: Set<string>; unprobed: Unprobed[] } {
  const names = new Set<string>();
  const unprobed: Unprobed[] = [];
  const partitions = new Set(
    catalog.relations.filter(({ isPartition }) => isPartition).map(({ name }) => name),
  );
  for (const relation of schema.org.keys()) {
    const table = structure.tables.get(relation);
    const orgColumn = table?.columns.find(({ name }) => name === ORG_COLUMN);
    if (table === undefined) unprobed.push({ relation, reason: 'declared, but not a table of the database' });
    else if (orgColumn?.type !== 'uuid')
      unprobed.push({
        relation,
        reason: `declared as org-owned, but has no column ${ORG_COLUMN} of type uuid`,
      });
    else if (!partitions.has(relation)) names.add(relation);
  }
  const below = new Set([...names].flatMap((name) => structure.tables.get(name)?.partitions ?? []));
  for (const relation of schema.org.keys())
    if (partitions.has(relation) && !below.has(relation))
      unprobed.push({ relation, reason: 'a partition of a table that is not declared as org-owned' });
  return { names, unprobed };
}

/** A role that is bound by row-level security cannot seed under FORCE; it is off while seeding, and on again for the attacks. */
async function force(
  db: Kysely<unknown>,
  tables: readonly string[],
  how: 'force' | 'no force',
): Promise<void> {
  if (tables.length === 0) return;
  try {
    await sql
      .raw(tables.map((table) => `alter table ${table} ${how} row level security`).join(';\n'))
      .execute(db);
  } catch (cause) {
    throw new RingfenceTenancyError(
      'tenancy.probe_refused',
      'the probe cannot run: its connection must own every table it seeds, with no deferred trigger on them, or be a superuser',
      { cause },
    );
  }
}

/** Fires what was deferred. Constraint triggers of the user may refuse synthetic rows: those are left pending, and never fire. */
async function settle(db: Kysely<unknown>, needed: boolean): Promise<void> {
  await sql.raw('savepoint ringfence_settle').execute(db);
  try {
    await sql.raw('set constraints all immediate').execute(db);
  } catch (error) {
    if (needed)
      throw new RingfenceTenancyError(
        'tenancy.probe_refused',
        `the probe cannot run: a deferred constraint refuses its rows (${constraintOf(error)}), and FORCE cannot be put back while it is pending: supply values in \`rows\`, or connect as a superuser`,
        { cause: error },
      );
    await sql.raw('rollback to savepoint ringfence_settle').execute(db);
  }
}

/** Name of the constraint that an error of PostgreSQL names. */
function constraintOf(error: unknown): string {
  const { constraint, code } = error as { readonly constraint?: string; readonly code?: string };
  return constraint ?? code ?? 'without a name';
}

/** The attacks have to cross a table without isolation, through the same code and role. */
async function proveCanary(session: ProbeSession, orgs: Orgs): Promise<void> {
  const row = (org: OrgId, id: string): Row =>
    new Map([
      [ORG_COLUMN, `${quoted(org)}::uuid`],
      ['id', quoted(id)],
    ]);
  await sql
    .raw(`insert into ${CANARY} values (${quoted(orgs[0])}, 'a'), (${quoted(orgs[1])}, 'b')`)
    .execute(session.db);
  const canary: AttackedTable = {
    name: CANARY,
    orgs,
    ownRows: 1,
    privileges: ['select', 'insert', 'update', 'delete'],
    primaryKey: [ORG_COLUMN, 'id'],
    owner: session.role,
    updatable: ORG_COLUMN,
    own: row(orgs[0], 'a'),
    foreign: row(orgs[1], 'b'),
    spare: row(orgs[0], 'c'),
    foreignSpare: row(orgs[1], 'c'),
    foreignKeys: [],
    partitions: [],
    reached: new Set(),
    signed: session.signed,
    readable: true,
    writesAlike: false,
    ownerless: false,
    triggers: true,
  };
  const missed = (await carryOut(session, tableAttacks(canary))).filter(
    ({ attack, outcome }) => outcome !== 'crossed' && !CANARY_HOLDS.has(attack),
  );
  if (missed.length === 0) return;
  throw new RingfenceTenancyError(
    'tenancy.probe_refused',
    `the probe does not find the crossing of its own canary: ${missed.map(({ attack, evidence }) => `${attack} (${evidence})`).join(', ')}`,
  );
}

/** What the canary withstands all the same: own rows are seen, and its owner is not the app role. */
const CANARY_HOLDS: ReadonlySet<string> = new Set(['own rows', 'become owner']);

function reportOf(
  schema: TenancySchema,
  found: Found,
  accepted: readonly Acceptance[],
  durationMs: number,
): ProbeReport {
  const same =
    (a: Omit<Acceptance, 'reason'>) =>
    (b: Omit<Acceptance, 'reason'>): boolean =>
      a.relation === b.relation && a.attack === b.attack && a.object === b.object;
  const attacks = found.attacks.map((result) => {
    const acceptance = result.outcome === 'crossed' ? accepted.find(same(result)) : undefined;
    return acceptance === undefined
      ? result
      : {
          ...result,
          outcome: 'accepted' as const,
          evidence: `${result.evidence}; accepted: ${acceptance.reason}`,
        };
  });
  const stale = accepted.filter(
    (acceptance) => !attacks.some((result) => result.outcome === 'accepted' && same(acceptance)(result)),
  );
  const failed = attacks.some(({ outcome }) => outcome === 'crossed' || outcome === 'inconclusive');
  return {
    clean: !failed && found.unprobed.length === 0 && stale.length === 0 && found.tables > 0,
    appRole: schema.appRole,
    signedContext: found.signed,
    tables: found.tables,
    attacks,
    unprobed: found.unprobed,
    stale,
    durationMs,
  };
}
