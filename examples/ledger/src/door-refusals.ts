/**
 * People who were not let into an organisation, told to its log: the first time at once, from then on once a minute with
 * the number of attempts. Whoever has a genuine token may knock anywhere.
 * Invariants: nobody fills the log of an organisation that is not theirs; who they are is not read from it, not by guessing
 * either, since the digest has a key, and a person has another digest in every organisation.
 */
import { createHmac, hkdfSync } from 'node:crypto';
import type { VerifiedSession } from '@ringfence/authz/session';
import type { OrgId, Principal } from '@ringfence/tenancy';

/** Somebody who was not let in. */
export interface Knock {
  readonly org: OrgId;
  /** The member, or the system for a stranger. */
  readonly by: Principal;
  readonly issuer: string;
  /** Digest of who it was. */
  readonly subject: string;
  readonly code: string;
  readonly reason: string;
  /** Since the last time this was told. */
  readonly attempts: number;
}

/** A knock whose attempts are those that were not told yet, and when it was told last, ms. */
interface Counted {
  knock: Knock;
  toldAt: number;
}

/** Least time between two events about the same person in the same organisation, ms. */
const INTERVAL_MS = 60_000;

/** Counts and tells. */
export class DoorRefusals {
  readonly #tell: (knock: Knock) => Promise<void>;
  readonly #key: Uint8Array;
  readonly #counted = new Map<string, Counted>();

  constructor(secret: Uint8Array, tell: (knock: Knock) => Promise<void>) {
    this.#tell = tell;
    this.#key = new Uint8Array(hkdfSync('sha256', secret, '', 'ledger: people at the door', 32));
  }

  /** Counts an attempt, at `now` ms; it and others that are due are told. Rejects when one could not be: it stays counted. */
  async note(
    { org, by, code, reason }: Omit<Knock, 'issuer' | 'subject' | 'attempts'>,
    { issuer, subject: name }: Pick<VerifiedSession, 'issuer' | 'subject'>,
    now: number = performance.now(),
  ): Promise<void> {
    const subject = createHmac('sha256', this.#key).update(`${org}\n${issuer}\n${name}`).digest('hex');
    const before = this.#counted.get(subject);
    const knock = { org, by, issuer, subject, code, reason, attempts: (before?.knock.attempts ?? 0) + 1 };
    if (before === undefined) this.#counted.set(subject, { knock, toldAt: -Infinity });
    else before.knock = knock;
    await this.#tellAll(now, ({ toldAt }) => now - toldAt >= INTERVAL_MS);
  }

  /** Tells all that is counted, due or not. Rejects when some could not be. */
  async flush(): Promise<void> {
    await this.#tellAll(performance.now(), () => true);
  }

  async #tellAll(now: number, due: (counted: Counted) => boolean): Promise<void> {
    const telling = [...this.#counted.values()].filter(due).map((counted) => this.#tellOne(counted, now));
    for (const each of await Promise.allSettled(telling)) if (each.status === 'rejected') throw each.reason;
  }

  async #tellOne(counted: Counted, now: number): Promise<void> {
    const { knock } = counted;
    if (knock.attempts === 0) {
      this.#counted.delete(knock.subject); // silent for a whole interval
      return;
    }
    counted.knock = { ...knock, attempts: 0 };
    counted.toldAt = now;
    try {
      await this.#tell(knock);
    } catch (error) {
      counted.knock = { ...counted.knock, attempts: counted.knock.attempts + knock.attempts };
      counted.toldAt = -Infinity;
      throw error;
    }
  }
}
