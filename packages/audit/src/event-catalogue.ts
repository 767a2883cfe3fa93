/**
 * The typed catalogue of events: what an application may record, decided in one place. An event that is not in the
 * catalogue, or data that does not fit its schema, does not compile; at run time it is refused before any I/O.
 */

import { checkPersonalMarks, type MarkedCatalogue } from './personal-fields.ts';

/** One step of a path, where a schema library wraps it. */
export interface PathStep {
  /** Property name or index. */
  readonly key: PropertyKey;
}

/** A problem a data schema reports. */
export interface DataIssue {
  /** What was expected. */
  readonly message: string;
  /** Where, from the outside in. */
  readonly path?: readonly (PropertyKey | PathStep)[] | undefined;
}

/** What a data schema answers. */
export interface DataResult<Output> {
  /** The value, as the schema gives it back; meaningless when there are issues. */
  readonly value?: Output | undefined;
  /** The problems; undefined when there are none. */
  readonly issues?: readonly DataIssue[] | undefined;
}

/** The types a data schema carries; no value exists at run time. */
export interface DataTypes<Input, Output> {
  /** What it takes. */
  readonly input: Input;
  /** What it gives back. */
  readonly output: Output;
}

/** The properties of a schema by the Standard Schema interface, version 1. */
export interface DataSchemaProperties<Input, Output> {
  /** Version of the interface. */
  readonly version: 1;
  /** Name of the schema library. */
  readonly vendor: string;
  /** Validates a value. Must answer at once: a promise is refused. */
  readonly validate: (value: unknown) => DataResult<Output> | Promise<DataResult<Output>>;
  /** Carries the types. */
  readonly types?: DataTypes<Input, Output> | undefined;
}

/** A synchronous schema by the Standard Schema interface (version 1), which zod 4 schemas implement. */
export interface DataSchema<Input = unknown, Output = unknown> {
  /** The Standard Schema properties. */
  readonly '~standard': DataSchemaProperties<Input, Output>;
}

/** One kind of event. */
export interface EventDefinition {
  /** Type of the thing acted upon, e.g. `entry`. Leave out for events without one. */
  readonly target?: string;
  /** Schema of the event's own data. Its output must fit the canonical profile. */
  readonly data?: DataSchema;
  /**
   * Parts that are personal: `reason`, `note`, `data.<member>`, `changes.<field>`. They enter the chain as commitments
   * only and can be erased. Such events are prepared with `@ringfence/audit/personal`.
   */
  readonly personal?: readonly string[];
}

/** Event definitions by name: `noun.verb` in lower case. */
export type EventCatalogue = Readonly<Record<string, EventDefinition>>;

/** How the action ended: it happened, it was refused, or it broke. */
export type Outcome = 'success' | 'denied' | 'failure';

/** Names of the events of a catalogue that have personal parts. */
export type PersonalEventName<E extends EventCatalogue> = keyof E &
  string &
  { [N in keyof E]: E[N] extends WithPersonal ? N : never }[keyof E];

/** Names of the events of a catalogue that have no personal parts. */
export type EventName<E extends EventCatalogue> = keyof E &
  string &
  { [N in keyof E]: E[N] extends WithPersonal ? never : N }[keyof E];

/** A definition that marks parts as personal. */
export interface WithPersonal {
  /** The marks. */
  readonly personal: readonly string[];
}

/** What every event can say. Organisation, actor, request id and time come from the database, never from here. */
export interface EventFields {
  /** How the action ended. */
  readonly outcome: Outcome;
  /** Why, in the words of the one who acted or of the rule that refused: 1 to 2 000 characters. */
  readonly reason?: string | undefined;
  /** A reviewer's note: 1 to 10 000 characters. */
  readonly note?: string | undefined;
  /** State of the target before; only fields that differ from `after` are recorded. */
  readonly before?: object | undefined;
  /** State of the target after. */
  readonly after?: object | undefined;
}

/** Fields of an event that acts upon something. */
export interface WithTarget {
  /** Id of the thing acted upon, 1 to 200 characters. */
  readonly target: string;
}

/** Fields of an event that acts upon nothing in particular. */
export interface WithoutTarget {
  /** Not for this event. */
  readonly target?: never;
}

/** Fields of an event that has data. */
export interface WithData<Input> {
  /** Data by the schema of the catalogue. */
  readonly data: Input;
}

/** Fields of an event that has no data. */
export interface WithoutData {
  /** Not for this event. */
  readonly data?: never;
}

/** The id of the target, for events that have one. */
export type TargetField<D> = D extends WithTarget ? WithTarget : WithoutTarget;

/** The data, for events that have some. */
export type DataField<D> =
  D extends WithData<DataSchema<infer Input, unknown>> ? WithData<Input> : WithoutData;

/** What one kind of event takes: the id of its target and its data, where it has them. */
export type EventInput<D extends EventDefinition> = EventFields & TargetField<D> & DataField<D>;

const EVENT_NAME = /^[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+$/;
const TARGET_TYPE = /^[a-z][a-z0-9_]*$/;

/**
 * Declares the catalogue and keeps its types.
 *
 * @throws TypeError when a name is not `noun.verb` in lower case, or longer than 100 characters, or a mark of `personal`
 * names no part of its event.
 * @example
 * ```ts
 * const events = defineEvents({
 *   'entry.approved': { target: 'entry', data: z.object({ amount: z.string() }) },
 *   'login.succeeded': {},
 * });
 * ```
 */
export function defineEvents<const E extends EventCatalogue>(events: E & MarkedCatalogue<E>): E {
  return checkCatalogue(events);
}

/**
 * Checks a catalogue whose types are known already.
 *
 * @throws TypeError as `defineEvents`.
 */
export function checkCatalogue<E extends EventCatalogue>(events: E): E {
  for (const [name, definition] of Object.entries(events)) {
    if (!EVENT_NAME.test(name) || name.length > 100) {
      throw new TypeError(
        `event name ${JSON.stringify(name)}: expected noun.verb in lower case, at most 100 characters`,
      );
    }
    const { target } = definition;
    if (target !== undefined && (!TARGET_TYPE.test(target) || target.length > 63)) {
      throw new TypeError(`target of event ${name}: expected a lower-case word of at most 63 characters`);
    }
    checkPersonalMarks(name, definition);
  }
  return Object.freeze(events);
}
