/**
 * Group commit within one process: events recorded while other statements are under way wait for them, and are then appended
 * together, by one statement and one flush, whatever their organisations, actors and requests. Each travels with the
 * settings that carry its own context, which the database sets and verifies one after the other (src/schema/append-batch.ts).
 *
 * Two statements may be under way, never with events of one organisation: its chain has one end, and the second would find it
 * held. So while one is flushed the other is computed.
 *
 * Invariants: events of one organisation are appended in the order of the calls. Every event is answered on its own, by its
 * place in the batch. What the database refuses of one event leaves the others alone. A batch whose answer was lost is not
 * sent again: its callers get the error.
 */
import { CompiledQuery } from 'kysely';
import type { FateRow } from './append-result.ts';
import { fromRecordingError, refusedEvent } from './errors.ts';
import type { QueryExecutor } from './executor.ts';
import { MAX_BATCH_EVENTS } from './schema/append-batch.ts';

const APPEND_BATCH = `select place, org, seq, hash, refused
  from audit.append_batch($1::uuid[], $2::text[], $3::integer[], $4::text[], $5::text[], $6::boolean)`;

/** Characters of bodies in one batch, about. */
const MAX_BATCH_LENGTH = 2_000_000;
/** Statements under way at once, at most. */
const MAX_STATEMENTS = 2;
/** Events that are worth a second statement, which costs as much by itself as ten of them. */
const WORTH_TWO_STATEMENTS = 32;

/** An event to append. */
export interface Appendable {
  /** Id of the event. */
  readonly id: string;
  /** Canonical body. */
  readonly body: string;
  /** The settings that carry its context, by name. */
  readonly settings: Readonly<Record<string, string>>;
  /** The organisation of the context as its executor names it; undefined when it does not. */
  readonly org: string | undefined;
}

interface Waiting {
  readonly event: Appendable;
  readonly resolve: (row: FateRow) => void;
  readonly reject: (error: unknown) => void;
}

interface BatchRow extends FateRow {
  /** Place in the batch, from 1. */
  readonly place: unknown;
  /** Name of the rule that refused the event; null when it was appended. */
  readonly refused: unknown;
}

/** Appends events in batches through one executor, which carries no context itself. */
export class BatchAppend {
  readonly #db: QueryExecutor;
  readonly #maySeal: boolean;
  readonly #underWay = new Set<ReadonlySet<string | undefined>>();
  #waiting: Waiting[] = [];
  #scheduled = false;

  constructor(db: QueryExecutor, maySeal: boolean) {
    this.#db = db;
    this.#maySeal = maySeal;
  }

  /** Appends an event and answers with its row. */
  append(event: Appendable): Promise<FateRow> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ event, resolve, reject });
      this.#schedule();
    });
  }

  /** Starts statements at the end of the turn: what is recorded in it goes together. */
  #schedule(): void {
    if (this.#scheduled || this.#underWay.size === MAX_STATEMENTS) return;
    this.#scheduled = true;
    void Promise.resolve().then(() => {
      this.#scheduled = false;
      this.#start();
    });
  }

  #start(): void {
    while (this.#underWay.size < MAX_STATEMENTS) {
      const batch = this.#takeBatch();
      if (batch.length === 0) return;
      const orgs = new Set(batch.map(({ event }) => event.org));
      this.#underWay.add(orgs);
      void this.#appendAll(batch).then(() => {
        this.#underWay.delete(orgs);
        this.#schedule();
      });
    }
  }

  /** Takes the first events that fit into one statement, and leaves those of organisations that have one under way. */
  #takeBatch(): Waiting[] {
    const busy = new Set([...this.#underWay].flatMap((orgs) => [...orgs]));
    const two = this.#underWay.size === 0 && this.#waiting.length >= WORTH_TWO_STATEMENTS;
    const most = two ? Math.ceil(this.#waiting.length / MAX_STATEMENTS) : MAX_BATCH_EVENTS;
    const batch: Waiting[] = [];
    const left: Waiting[] = [];
    const passedOver = new Set<string | undefined>();
    const orgs = new Set<string | undefined>();
    let length = 0;
    for (const waiting of this.#waiting) {
      const { body, org } = waiting.event;
      const fits =
        batch.length === 0 || (batch.length < MAX_BATCH_EVENTS && length + body.length <= MAX_BATCH_LENGTH);
      const inTurn = !overlaps(busy, org) && !overlaps(passedOver, org);
      if (fits && inTurn && (batch.length < most || orgs.has(org))) {
        batch.push(waiting);
        orgs.add(org);
        length += body.length;
      } else {
        left.push(waiting);
        passedOver.add(org);
      }
    }
    this.#waiting = left;
    return batch;
  }

  async #appendAll(batch: readonly Waiting[]): Promise<void> {
    try {
      const query = CompiledQuery.raw(APPEND_BATCH, parametersOf(batch, this.#maySeal));
      const { rows } = await this.#db.executeQuery(query as CompiledQuery<BatchRow>);
      const byPlace = new Map(rows.map((row) => [Number(row.place), row]));
      for (const [index, { event, resolve, reject }] of batch.entries()) {
        const row = byPlace.get(index + 1);
        if (row === undefined) reject(new TypeError('not an answer of audit.append_batch'));
        else if (typeof row.refused === 'string') reject(refusedEvent(event.id, row.refused));
        else resolve(row);
      }
    } catch (error) {
      // One event can fail all, e.g. one whose id exists: nothing of the statement is left, so each half is tried alone.
      if (batch.length > 1 && concernsOneEvent(error)) {
        const half = batch.length >> 1;
        await this.#appendAll(batch.slice(0, half));
        await this.#appendAll(batch.slice(half));
      } else {
        const mapped = fromRecordingError(error);
        for (const { reject } of batch) reject(mapped);
      }
    }
  }
}

/** The statement's parameters; each distinct context is sent once. */
function parametersOf(batch: readonly Waiting[], maySeal: boolean): unknown[] {
  const names = [...new Set(batch.flatMap(({ event }) => Object.keys(event.settings)))].sort();
  const contexts = new Map<string, number>();
  const values: string[] = [];
  const contextOf = batch.map(({ event: { settings } }) => {
    const context = names.map((name) => settings[name] ?? '');
    const key = context.length === 1 ? (context[0] as string) : JSON.stringify(context);
    const known = contexts.get(key);
    if (known !== undefined) return known;
    values.push(...context);
    contexts.set(key, contexts.size + 1);
    return contexts.size;
  });
  const ids = batch.map(({ event }) => event.id);
  return [ids, batch.map(({ event }) => event.body), contextOf, names, values, maySeal];
}

/** What a single event can bring about: an id that exists, or (class 22) data that PostgreSQL or the function refuses. */
function concernsOneEvent(error: unknown): boolean {
  const { code, constraint } = (error ?? {}) as { readonly code?: unknown; readonly constraint?: unknown };
  return constraint === 'event_pkey' || (typeof code === 'string' && /^22...$/.test(code));
}

/** Whether an event may be of an organisation in `orgs`: one that does not tell its own may be of any. */
function overlaps(orgs: ReadonlySet<string | undefined>, org: string | undefined): boolean {
  return orgs.has(org) || (orgs.size > 0 && (org === undefined || orgs.has(undefined)));
}
