/**
 * Templates of bodies: what bodies of one kind have in common. A body of a known template is sent as template, MAC and values, and
 * the database takes it without reading it (src/schema/append-template.ts). It is made here as it is there: only a template that both
 * make alike gets a MAC.
 *
 * A template has names and types only, none of the values of the event it was made of, and is kept in this process alone.
 */
import { CompiledQuery } from 'kysely';
import type { FateRow } from './append-result.ts';
import { MAX_HOLES } from './schema/append-template.ts';

/** Templates kept at most; the one unused for longest goes first. */
const MAX_TEMPLATES = 256;
/** Characters of a template at most. */
const MAX_TEMPLATE_LENGTH = 4_096;

/** An integer that is a member's value, and what is behind it up to the next string. */
const INTEGER_MEMBER = /^:(0|-?[1-9][0-9]{0,14})[\],}]+$/;
const BEHIND_INTEGER = /[\],}]/;
const COLON = 0x3a;
const NINE = 0x39;

const APPEND = 'select org, seq, hash from audit.append($1::uuid, $2::text, $3::boolean)';
const APPEND_FROM_TEMPLATE = `select org, seq, hash, template_mac
  from audit.append_from_template($1::uuid, $2::text, $3::bytea, $4::boolean, $5::text, $6::bigint[], $7::boolean)`;

/** A body taken apart. */
export interface TemplatedBody {
  /** The body with numbered holes: `%1$s` … for its strings that are no names, and behind these for its numbers. */
  readonly template: string;
  /** The strings, separated by quotes. */
  readonly strings: string;
  /** The integers, in the text form of a PostgreSQL array. */
  readonly integers: string;
}

/** Takes a canonical body of this package apart; undefined when it has no template. */
export function templateOf(body: string, targeted: boolean): TemplatedBody | undefined {
  if (body.includes('\\')) return undefined;
  const pieces = body.split('"');
  // Behind it are the types.
  const lastGap = pieces.length - (targeted ? 9 : 2);
  // In a template a percent sign begins a hole.
  const percent = body.includes('%');
  const types = targeted ? [2, 6] : [2];
  if (percent && types.some((place) => pieces.at(-place)?.includes('%'))) return undefined;
  const strings: string[] = [];
  const integerGaps: number[] = [];
  for (let gap = 2; gap <= lastGap; gap += 2) {
    const text = pieces[gap] as string;
    if (text.charCodeAt(0) !== COLON) {
      strings.push(pieces[gap - 1] as string);
      pieces[gap - 1] = `%${strings.length}$s`;
    } else if (percent && pieces[gap - 1]?.includes('%')) {
      return undefined;
    } else if (text.charCodeAt(1) <= NINE && INTEGER_MEMBER.test(text)) {
      integerGaps.push(gap);
    }
  }
  if (strings.length === 0 || strings.length + integerGaps.length > MAX_HOLES) return undefined;
  const integers: string[] = [];
  for (const gap of integerGaps) {
    const text = pieces[gap] as string;
    const end = text.search(BEHIND_INTEGER);
    integers.push(text.slice(1, end));
    pieces[gap] = `:%${strings.length + integers.length}$s${text.slice(end)}`;
  }
  return { template: pieces.join('"'), strings: strings.join('"'), integers: `{${integers.join(',')}}` };
}

interface KnownTemplate {
  uses: number;
  mac: Uint8Array | null;
}

/** The templates that this process has met, with the MACs it was given. */
export class BodyTemplates {
  readonly #known = new Map<string, KnownTemplate>();

  /** The statement that appends a body. */
  statement(id: string, body: string, targeted: boolean, maySeal: boolean): CompiledQuery {
    const templated = templateOf(body, targeted);
    if (templated !== undefined && templated.template.length <= MAX_TEMPLATE_LENGTH) {
      const { template, strings, integers } = templated;
      const { uses, mac } = this.#use(template);
      // Without a MAC it costs more than the body itself. So one is asked for at the second use, the fourth, the eighth …
      const ask = uses > 1 && (uses & (uses - 1)) === 0;
      if (mac !== null || ask)
        return CompiledQuery.raw(APPEND_FROM_TEMPLATE, [
          id,
          template,
          mac,
          targeted,
          strings,
          integers,
          maySeal,
        ]);
    }
    return CompiledQuery.raw(APPEND, [id, body, maySeal]);
  }

  /** Keeps the MAC that came with the answer to a statement. */
  learn({ sql, parameters }: CompiledQuery, row: FateRow | undefined): void {
    const mac = row?.template_mac;
    if (sql !== APPEND_FROM_TEMPLATE || !(mac instanceof Uint8Array)) return;
    const known = this.#known.get(parameters[1] as string);
    if (known !== undefined) known.mac = mac;
  }

  #use(template: string): KnownTemplate {
    const known = this.#known.get(template) ?? { uses: 0, mac: null };
    known.uses++;
    this.#known.delete(template);
    this.#known.set(template, known);
    if (this.#known.size > MAX_TEMPLATES) this.#known.delete(this.#known.keys().next().value as string);
    return known;
  }
}
