/**
 * `@ringfence/audit/personal`: events with personal data in a log that is never changed. The chain holds salted
 * commitments; the values lie beside it, sealed under a key per data subject, and go dark with that key.
 *
 * @packageDocumentation
 */
import type { Audit, Receipt } from '../audit.ts';
import {
  checkCatalogue,
  type EventCatalogue,
  type EventInput,
  type PersonalEventName,
} from '../event-catalogue.ts';
import { platformRandom, type RandomBytes } from '../event-id.ts';
import type { QueryExecutor } from '../executor.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import type { PersonalMarks } from '../personal-fields.ts';
import type { Disclosure } from '../verify/disclosure.ts';
import { type Erasure, eraseSubject, unfinishedErasures } from './erase.ts';
import { type Preparation, prepareWithPersonal } from './prepare.ts';
import { revealField } from './reveal.ts';
import type { SubjectSealer } from './subject-sealer.ts';

export type { Disclosure } from '../verify/disclosure.ts';
export type { Erasure } from './erase.ts';
export type { KeyDestruction, PersonalCell, SubjectSealer } from './subject-sealer.ts';

/** Settings of `createPersonalAudit`. */
export interface PersonalAuditOptions<E extends EventCatalogue> {
  /** The catalogue of `createAudit`. */
  readonly events: E;
  /** The audit log, which waits for seals. */
  readonly audit: Pick<Audit<E>, 'sealed'>;
  /** Keys of data subjects. */
  readonly subjects: SubjectSealer;
  /** As in `createAudit`. Default true. */
  readonly sealInTransaction?: boolean;
  /** Clock, ms since epoch. Default `Date.now`. */
  readonly now?: () => number;
  /** Source of salts and event ids, cryptographic. Default: the platform's. */
  readonly random?: RandomBytes;
}

/** Whose data it is. */
export interface WithSubject {
  /** Opaque id of the data subject, 1 to 200 characters. It stays in the log after an erasure: never a name or address. */
  readonly subject: string;
}

/** Names of the personal parts of a catalogue's events. */
export type PersonalFieldName<E extends EventCatalogue> = {
  [N in keyof E]: E[N] extends Required<PersonalMarks<infer Mark extends string>> ? Mark : never;
}[keyof E];

/** The personal side of an audit log. */
export interface PersonalAudit<E extends EventCatalogue> {
  /**
   * Validates an event, commits to its personal parts and seals them. No database I/O; the port may fetch the subject's
   * key. Run the receipt as the last statement of the business transaction and await `audit.sealed`, as with any event.
   *
   * @throws RingfenceAuditError `audit.invalid_event`, `audit.not_canonical`, `audit.event_too_large`; the statement is
   * refused with `audit.subject_erased`, or `audit.other_org` when the context is of another organisation.
   */
  prepare<N extends PersonalEventName<E>>(
    org: OrgId,
    type: N,
    event: EventInput<E[N]> & WithSubject,
  ): Promise<Receipt>;
  /**
   * Opens one field of one event and holds it against the chain. Give the result to an auditor together with the record:
   * `verifyDisclosure` of `/verify` needs nothing else.
   *
   * @throws RingfenceAuditError `audit.no_personal_field`, `audit.subject_erased`, `audit.personal_tampered`,
   * `audit.other_org`, and what the port throws when a value does not open.
   */
  reveal(
    executor: QueryExecutor,
    org: OrgId,
    event: string,
    field: PersonalFieldName<E>,
  ): Promise<Disclosure>;
  /**
   * Erases a data subject: one key is destroyed, whatever the number of events, then the sealed values are deleted and the
   * event `subject.erased` is chained. Needs an executor that carries the context and is no transaction. Run it again
   * after a crash, or after a restore of the key store.
   *
   * @throws TypeError when the executor is a transaction.
   * @throws RingfenceAuditError `audit.other_org`, `audit.not_sealed`, `audit.unavailable`, and what the port throws.
   */
  erase(executor: QueryExecutor, org: OrgId, subject: string): Promise<Erasure>;
  /** Subjects whose erasure was begun and not finished, the oldest first: erase each of them again. */
  unfinished(executor: QueryExecutor, org: OrgId): Promise<string[]>;
}

/**
 * Makes the personal side of an audit log.
 *
 * @throws TypeError when a name or a mark of the catalogue is malformed.
 * @example
 * ```ts
 * const events = defineEvents({
 *   'member.invited': { data: z.object({ email: z.string(), role: z.string() }), personal: ['data.email'] },
 * });
 * const personal = createPersonalAudit({ events, audit, subjects });
 * const receipt = await personal.prepare(org, 'member.invited', {
 *   subject: member.id, outcome: 'success', data: { email: 'ada@example.org', role: 'auditor' },
 * });
 * ```
 */
export function createPersonalAudit<const E extends EventCatalogue>(
  options: PersonalAuditOptions<E>,
): PersonalAudit<E> {
  const { audit, subjects } = options;
  const preparation: Preparation = {
    events: checkCatalogue<EventCatalogue>(options.events),
    subjects,
    now: options.now ?? Date.now,
    random: options.random ?? platformRandom,
    sealInTransaction: options.sealInTransaction ?? true,
  };
  return {
    prepare: (org, type, event) => prepareWithPersonal(preparation, parseOrgId(org), type, event),
    reveal: (executor, org, event, field) => revealField(subjects, executor, parseOrgId(org), event, field),
    erase: (executor, org, subject) => eraseSubject(audit, preparation, executor, parseOrgId(org), subject),
    unfinished: (executor, org) => unfinishedErasures(executor, parseOrgId(org)),
  };
}
