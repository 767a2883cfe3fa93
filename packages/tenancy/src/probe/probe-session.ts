/**
 * The one transaction the probe lives in. Two functions in `pg_temp` run thousands of statements in one round trip, each in
 * a subtransaction; the probe's own context key, its canary and its rows exist in this transaction only. Invariant: it is
 * rolled back however the probe ends; a lost connection rolls it back on the server.
 */
import { randomBytes } from 'node:crypto';
import { type Kysely, sql } from 'kysely';
import { type ContextKey, ContextSigner } from '../context.ts';
import { RingfenceTenancyError } from '../errors.ts';
import { identifier } from '../identifier.ts';
import { installContextKey } from '../migrations/tenancy-migrations.ts';
import type { OrgId } from '../org-id.ts';
import { ORG_COLUMN } from './seed-order.ts';

/** One statement, and the context it runs under: an index into `ProbeSession.contexts`. */
export type Step = readonly [context: number, statement: string];

/** What became of a list of steps. */
export interface StepResult {
  /** SQLSTATE of the first failure, or `00000`. */
  readonly state: string;
  /** Rows of the last step. */
  readonly rows: number;
  /** Constraint the failure names. */
  readonly constraint: string;
  /** Function that raised it. Message and detail are left out: they carry values. */
  readonly place: string;
  /** First column of the last step, when it was asked for. */
  readonly answer: string | null;
}

// Thousands of lists run through this loop, so each line of it counts: an assignment evaluates its expression directly, where
// PERFORM, a condition with a subselect or a query over jsonb would start an executor each time. A regular expression over a
// whole context takes 60 µs, more than most of the attacks: only contexts of unusual form get it. What a list sets is undone
// with the list, so the context outside of it is set when the next list needs another one; what a seed sets is kept, so there
// it is set for each. A plan that is there before is a cancelled probe's; a place in pg_temp is this function, so the statement
// failed outside of any other; why there is no plan to execute is what its PREPARE failed with. A list that begins with that
// PREPARE has a negative end.
const RUN = `
create function pg_temp.ringfence_run(statements text[], contexts text[], uses int[], ends int[], runner text, keep boolean,
  ask boolean)
returns table (state text, "rows" bigint, "constraint" text, place text, answer text) language plpgsql as $run$
declare
  last int;
  begins int;
  number int := 1;
  held int := 0;
  origin text;
  opens boolean;
  prepared boolean := exists (select from pg_catalog.pg_prepared_statements where name = 'ringfence_probe');
  unprepared text[];
begin
  origin := pg_catalog.set_config('role', runner, true);
  foreach last in array ends loop
    state := '00000'; rows := 0; "constraint" := ''; place := ''; answer := null;
    begins := number;
    opens := last < 0;
    if opens then
      last := -last;
      if prepared then deallocate ringfence_probe; prepared := false; end if;
    end if;
    if keep or uses[number] <> held then
      held := uses[number];
      origin := pg_catalog.set_config('ringfence.context', contexts[held], true);
    end if;
    begin
      loop
        if ask then execute statements[number] into answer; else execute statements[number]; end if;
        get diagnostics rows = row_count;
        exit when number = last;
        number := number + 1;
        if keep or uses[number] <> uses[number - 1] then
          origin := pg_catalog.set_config('ringfence.context', contexts[uses[number]], true);
        end if;
      end loop;
      if not keep then raise exception using errcode = 'RF000'; end if;
    exception
      when sqlstate 'RF000' then null;
      when others then
        rows := 0;
        get stacked diagnostics state = returned_sqlstate, "constraint" = constraint_name, origin = pg_exception_context;
        place := split_part(origin, ' function ', 2);
        place := case
          when starts_with(place, 'pg_temp') then ''
          when starts_with(origin, 'PL/pgSQL function ') then coalesce(substring(place from '^"?([\\w.]+)'), '?')
          else coalesce(substring(origin from '(?:PL/\\w+|SQL) function (?!pg_temp)"?([^\\s"(]+)'), '') end;
    end;
    if opens then
      prepared := number > begins;
      unprepared := array[state, "constraint", place];
    elsif state = '26000' and not prepared then
      state := unprepared[1]; "constraint" := unprepared[2]; place := unprepared[3];
    end if;
    number := last + 1;
    return next;
  end loop;
  if prepared then deallocate ringfence_probe; end if;
  origin := pg_catalog.set_config('role', 'none', true);
end $run$`;

const CHOOSE = `
create function pg_temp.ringfence_choose(statements text[], ends int[]) returns table (answer text[]) language plpgsql as $run$
declare
  last int;
  number int := 1;
begin
  foreach last in array ends loop
    answer := null;
    while number <= last and answer is null loop
      begin
        execute statements[number] into answer;
      exception when others then answer := null;
      end;
      number := number + 1;
    end loop;
    number := last + 1;
    return next;
  end loop;
end $run$`;

/** Table of the probe without any isolation: every attack has to cross it, or the probe itself is broken. */
export const CANARY = 'pg_temp.ringfence_canary';

/** Index of each context. */
export const CONTEXT = { none: 0, own: 1, foreign: 2, forged: 3, expired: 4, empty: 5 } as const;

/** The synthetic organisations: attacker, prey, and one without rows. */
export type Orgs = readonly [own: OrgId, foreign: OrgId, empty: OrgId];

/** Life of the contexts, ms: longer than any probe. */
const LIFE_MS = 3_600_000;

/** The transaction, ready to seed and to attack. */
export interface ProbeSession {
  readonly db: Kysely<unknown>;
  /** Role of the connection. */
  readonly role: string;
  /** Whether the database verifies signatures. */
  readonly signed: boolean;
  /** Whether the role of the connection is bound by row-level security. */
  readonly bound: boolean;
  /** Values of `ringfence.context`, by `CONTEXT`. */
  readonly contexts: readonly string[];
  /** Runs the steps as the connection's own role and keeps what they did. */
  seed(attacks: readonly (readonly Step[])[]): Promise<StepResult[]>;
  /**
   * Runs the steps as the app role and undoes each list. Takes the role and gives it back in the same statement, so that a
   * call may be made while another one is under way.
   */
  attack(attacks: readonly (readonly Step[])[], ask?: boolean): Promise<StepResult[]>;
  /** Lets the server choose values. */
  choose(choices: readonly (readonly string[])[]): Promise<(readonly (string | null)[] | null)[]>;
}

/** Prepares the transaction that is open on `db`. */
export async function openProbe(db: Kysely<unknown>, appRole: string, orgs: Orgs): Promise<ProbeSession> {
  const app = identifier(appRole);
  await sql.raw('savepoint ringfence_probe').execute(db); // fails outside a transaction, before anything is written
  const { rows } = await sql<{ role: string; now: string; bound: boolean; signed: boolean }>`
    select current_user as role, (extract(epoch from clock_timestamp()) * 1000)::bigint::text as now, not (rolsuper or rolbypassrls) as bound,
           to_regclass('tenancy.context_key') is not null as signed
      from pg_roles where rolname = current_user`.execute(db);
  const { role = '', now = '0', bound = true, signed = false } = rows[0] ?? {};
  await refusedAs(`may take the app role: grant ${appRole} to it, or connect as a superuser`, () =>
    sql.raw(`set local role ${app}; set local role none`).execute(db),
  );
  const key = signed
    ? { id: `probe_${randomBytes(8).toString('hex')}`, secret: new Uint8Array(randomBytes(32)) }
    : undefined;
  if (key !== undefined)
    await refusedAs(
      'may write tenancy.context_key: connect as the owner of schema tenancy, or a superuser',
      () => installContextKey(db, key),
    );
  await refusedAs('may create temporary objects: grant temporary on the database to it', () =>
    sql
      .raw(`create temporary table ringfence_canary (${ORG_COLUMN} uuid, id text, primary key (${ORG_COLUMN}, id));
      grant all on ${CANARY} to ${app}; ${RUN}; ${CHOOSE}`)
      .execute(db),
  );
  const contexts = probeContexts(key, Number(now), orgs);
  const run = async (runner: string, attacks: readonly (readonly Step[])[], keep: boolean, ask: boolean) => {
    if (attacks.length === 0) return [];
    const steps = attacks.flat();
    const statements = steps.map(([, statement]) => statement);
    const uses = steps.map(([context]) => context + 1); // arrays of PostgreSQL begin at 1
    const ends = endsOf(attacks).map((end, index) => (opensPlan(attacks[index]) ? -end : end));
    const { rows } = await sql<StepResult & { rows: string }>`
      select * from pg_temp.ringfence_run(${statements}::text[], ${contexts}::text[], ${uses}::int[],
        ${ends}::int[], ${runner}, ${keep}, ${ask})`.execute(db);
    return rows.map((row) => ({ ...row, rows: Number(row.rows) }));
  };
  return {
    db,
    role,
    signed,
    bound,
    contexts,
    seed: (attacks) => run('none', attacks, true, false),
    attack: (attacks, ask = false) => run(appRole, attacks, false, ask),
    choose: async (choices) => {
      if (choices.length === 0) return [];
      const { rows } = await sql<{
        answer: (string | null)[] | null;
      }>`select * from pg_temp.ringfence_choose(${choices.flat()}::text[], ${endsOf(choices)}::int[])`.execute(
        db,
      );
      return rows.map(({ answer }) => answer);
    },
  };
}

/** Whether the list begins with the PREPARE of the plan that it, and lists behind it, execute. */
function opensPlan(steps: readonly Step[] | undefined): boolean {
  return steps?.[0]?.[1].startsWith('prepare ringfence_probe') === true;
}

/** Number of the last element of each list, from 1, when the lists are laid end to end. */
function endsOf(lists: readonly (readonly unknown[])[]): number[] {
  let end = 0;
  return lists.map(({ length }) => (end += length));
}

function probeContexts(key: ContextKey | undefined, nowMs: number, [own, foreign, empty]: Orgs): string[] {
  const signer = new ContextSigner(key, LIFE_MS);
  const at = (org: OrgId, ms: number) => signer.mintFor(org, { actor: 'probe' }).at(ms).value;
  const ours = at(own, nowMs);
  return [
    '',
    ours,
    at(foreign, nowMs),
    ours.replace(own, foreign),
    at(own, nowMs - 2 * LIFE_MS),
    at(empty, nowMs),
  ];
}

async function refusedAs(expected: string, run: () => Promise<unknown>): Promise<void> {
  try {
    await run();
  } catch (cause) {
    throw new RingfenceTenancyError(
      'tenancy.probe_refused',
      `the probe cannot run: its connection must be one that ${expected}`,
      { cause },
    );
  }
}
