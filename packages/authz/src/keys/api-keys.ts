/**
 * API keys: created, verified, admitted, rotated, revoked, reported. A key is a delegation: its scope is held against
 * the creator's rights by implication when it is made (ceiling.ts), and in each request against the rights the creator
 * has then. Invariants: the key is shown once and stored as a MAC; whatever is wrong with a key, no I/O comes before its
 * checksum; an unknown key costs the work of a known one; a key makes no keys.
 */
import { assertWithinCeiling } from '../ceiling.ts';
import type { OrgId } from '../org-id.ts';
import { parseOrgId } from '../org-id.ts';
import type { Policy } from '../policy.ts';
import type { Resources } from '../policy-types.ts';
import { API_KEY_ISSUER, keyOrigin } from '../session/api-key-session.ts';
import { type Clock, clockOf, steadyTime } from '../session/clock.ts';
import { AuthzSessionInsufficientError, AuthzSessionRefusedError } from '../session/errors.ts';
import { createSessionGuard, type SessionDirectory, type SessionGuard } from '../session/guard.ts';
import type { Revocations } from '../session/revocations.ts';
import type { VerifiedSession } from '../session/verified-session.ts';
import { AuthzKeyConflictError, AuthzKeyRefusedError } from './errors.ts';
import { type KeyAccess, ScopedAccess, type VerifiedKey } from './key-access.ts';
import { KeyFormat, type ParsedKey } from './key-format.ts';
import { distinct, floorToSecond, seconds, text, within } from './key-input.ts';
import { KeyMac, type Peppers } from './key-mac.ts';
import { type KeyReport, type KeyReportLimits, reportKeys } from './key-report.ts';
import { endOf, verifiedKey } from './key-state.ts';
import type { ApiKeyRecord, ApiKeyStore, KeyScope, KeySelection } from './key-store.ts';
import { LastUsed } from './last-used.ts';
import { RecordCache } from './record-cache.ts';
import { type RefusedKey, RefusedKeys } from './refused-keys.ts';
import { Secret } from './secret.ts';

/** What API keys need. */
export interface ApiKeysOptions<R extends Resources, Role extends string> extends Partial<Clock> {
  /** First part of every key, the application: 2 to 12 characters of a-z and 0-9. */
  readonly prefix: string;
  /** Second part, the environment: `live`, `test` and the like. Keys of another environment are refused unread. */
  readonly type: string;
  /** Peppers of the MAC, from your secret manager and not from the database. */
  readonly peppers: Peppers;
  /** Where keys are stored. */
  readonly store: ApiKeyStore;
  /** The policy in force. Ask for the current one each time, if it can change: `() => policy`. */
  readonly policy: () => Policy<R, Role>;
  /** The application's data, as the session guard takes it. It is asked for creators, never for keys. */
  readonly directory: SessionDirectory<Role>;
  /** The register that verifier and guard use too. */
  readonly revocations: Revocations;
  /** Longest life of a key in ms. Default 365 days; at most 730 days. */
  readonly maxLifetimeMs?: number;
  /** How old a record may be that a key is verified with, in ms, 0 to 60,000. Default 5,000; 0 asks the store each time. */
  readonly recordMaxAgeMs?: number;
  /** How many records are kept. Default 10,000. */
  readonly recordEntries?: number;
  /** Least time between two writes of last use, in ms. Default 60,000. */
  readonly lastUsedIntervalMs?: number;
  /** Told when last use could not be written; the write is tried again. */
  readonly onLastUsedError?: (cause: unknown) => void;
  /**
   * Told of keys that `verify` and `admit` refuse, for the log: the first refusal of a key at once, then at most once per
   * `refusedIntervalMs` with their number. `org` is set when the key exists and its secret was right. Never waited for.
   */
  readonly onRefused?: (refused: RefusedKey) => void | Promise<void>;
  /** Told when `onRefused` failed; its refusals are counted into the next report. */
  readonly onRefusedError?: (cause: unknown) => void;
  /** Least time between two reports of one key, in ms. Default 60,000. */
  readonly refusedIntervalMs?: number;
}

/** Who asks for a key, and for what. */
export interface KeyRequest {
  /** The session of the person who asks. Authorize the request with your policy first. */
  readonly session: VerifiedSession;
  /** The organisation. */
  readonly org: OrgId;
  /** Chosen by the client, 1 to 128 characters, unique in the organisation: sent twice, it makes one key. */
  readonly requestId: string;
  /** Life of the key in ms, whole seconds. Required: no key lives for ever. */
  readonly lifetimeMs: number;
}

/** A new key. */
export interface KeyCreation extends KeyRequest {
  /** For people: what it is used for, 1 to 128 characters. */
  readonly name: string;
  /** What it may do. */
  readonly scope: KeyScope;
}

/** A key that is followed by another. */
export interface KeyReplacement extends KeyRequest {
  /** The key that is followed. */
  readonly id: string;
  /** How long both work, in ms, whole seconds: 0, or at least `recordMaxAgeMs`. At most 30 days. */
  readonly overlapMs: number;
}

/** A key that was just made. */
export interface IssuedKey {
  /** Its id. */
  readonly id: string;
  /** First instant at which it is over, epoch ms. */
  readonly expiresAt: number;
  /** The key, to be shown once: it cannot be had again. */
  readonly key: Secret;
}

/** Makes, verifies and ends API keys. */
export interface ApiKeys<R extends Resources = Resources> {
  /**
   * Makes a key for the person of the session.
   *
   * @throws AuthzCeilingExceededError `authz.ceiling_exceeded` when the scope allows what the person may not.
   * @throws AuthzKeyConflictError `authz.key_conflict` for a request that was carried out before.
   * @throws AuthzSessionRefusedError `authz.session_refused`; also for the session of a key.
   * @throws AuthzSessionInsufficientError `authz.session_insufficient`.
   * @throws RingfenceAuthzError `authz.analysis_too_large`: nothing was made.
   * @throws TypeError when a part is of the wrong type.
   */
  create(creation: KeyCreation): Promise<IssuedKey>;
  /**
   * Makes a key with the scope of another and ends that one after the overlap, to the second. The new key is that of the
   * person who asks, and its scope is held against their rights, not against those of who made the first.
   *
   * @throws As `create`; AuthzKeyConflictError `authz.key_conflict` also for a key that was rotated or has ended.
   */
  rotate(replacement: KeyReplacement): Promise<IssuedKey>;
  /**
   * Checks format, checksum, MAC, expiry, overlap and revocation, in this order.
   *
   * @throws AuthzKeyRefusedError `authz.key_refused`.
   */
  verify(text: string): Promise<VerifiedKey>;
  /**
   * Verifies a key and admits its session to its organisation: the creator must be a member, and what the organisation
   * asks for (SSO, a second factor) must have been so when the key was made. For one request.
   *
   * @throws AuthzKeyRefusedError `authz.key_refused`.
   * @throws AuthzSessionRefusedError `authz.session_refused`.
   */
  admit(text: string): Promise<KeyAccess<R>>;
  /** Ends keys: in the store first, then in this process and, through the register, in the others. Gives their number. */
  revoke(selection: KeySelection): Promise<number>;
  /** What should be looked at in an organisation: keys that are old, unused, above their ceiling, or orphaned. */
  report(org: OrgId, limits: KeyReportLimits): Promise<KeyReport>;
  /** Writes last uses and tells refusals that are pending: call it when the process stops. Rejects when either fails. */
  flush(): Promise<void>;
  /** Source of a regular expression for secret scanners. */
  readonly scannerPattern: string;
}

const SECOND = 1_000;
const DAY_MS = 86_400_000;
const MOST_OVERLAP_MS = 30 * DAY_MS;

/**
 * Makes the keys of an application in one environment.
 *
 * @throws TypeError when an option is wrong; the message names it.
 * @example
 * ```ts
 * const access = await keys.admit(bearer);
 * access.require('entry.post', entry);
 * ```
 */
export function createApiKeys<R extends Resources, Role extends string>(
  options: ApiKeysOptions<R, Role>,
): ApiKeys<R> {
  return new StoredKeys(options);
}

/** A key at an instant at which it has not ended, epoch ms. */
interface AliveKey {
  readonly record: ApiKeyRecord;
  readonly at: number;
}

class StoredKeys<R extends Resources, Role extends string> implements ApiKeys<R> {
  readonly #format: KeyFormat;
  readonly #mac: KeyMac;
  readonly #store: ApiKeyStore;
  readonly #policy: () => Policy<R, Role>;
  readonly #directory: SessionDirectory<Role>;
  readonly #revocations: Revocations;
  readonly #clock: Clock;
  readonly #now: () => number;
  readonly #guard: SessionGuard<Role>;
  readonly #records: RecordCache;
  readonly #lastUsed: LastUsed;
  readonly #refused: RefusedKeys | undefined;
  readonly #maxLifetimeMs: number;
  readonly #recordMaxAgeMs: number;

  constructor(options: ApiKeysOptions<R, Role>) {
    const { store, policy, directory, revocations } = options;
    const { maxLifetimeMs = 365 * DAY_MS, recordMaxAgeMs = 5_000, recordEntries = 10_000 } = options;
    const { lastUsedIntervalMs = 60_000, onLastUsedError = () => undefined } = options;
    const { onRefused, onRefusedError = () => undefined, refusedIntervalMs = 60_000 } = options;
    this.#format = new KeyFormat(options.prefix, options.type);
    this.#mac = new KeyMac(options.peppers);
    this.#maxLifetimeMs = within('maxLifetimeMs', maxLifetimeMs, SECOND, 730 * DAY_MS);
    this.#recordMaxAgeMs = within('recordMaxAgeMs', recordMaxAgeMs, 0, 60_000);
    within('recordEntries', recordEntries, 1, 10_000_000);
    within('lastUsedIntervalMs', lastUsedIntervalMs, SECOND, DAY_MS);
    within('refusedIntervalMs', refusedIntervalMs, SECOND, DAY_MS);
    this.#store = store;
    this.#policy = policy;
    this.#directory = directory;
    this.#revocations = revocations;
    const clock = clockOf(options);
    const now = steadyTime(clock);
    this.#now = now;
    // A guard that is made later starts from this time, not from a wall clock that was set back meanwhile.
    this.#clock = { ...clock, now };
    this.#guard = createSessionGuard({ directory, revocations, ...this.#clock });
    this.#records = new RecordCache(revocations, recordMaxAgeMs, recordEntries);
    this.#lastUsed = new LastUsed(store, lastUsedIntervalMs, recordEntries, onLastUsedError);
    this.#refused =
      onRefused &&
      new RefusedKeys({ tell: onRefused, onError: onRefusedError, intervalMs: refusedIntervalMs });
  }

  get scannerPattern(): string {
    return this.#format.scannerPattern;
  }

  async create(creation: KeyCreation): Promise<IssuedKey> {
    const { name, scope } = creation;
    const { issued, record } = await this.#draw(creation, text('name', name), {
      roles: distinct('scope.roles', scope.roles),
      actions: distinct('scope.actions', scope.actions),
    });
    if ((await this.#store.insert(record)) === 'replayed') throw replayed();
    return issued;
  }

  async rotate(replacement: KeyReplacement): Promise<IssuedKey> {
    const { id, overlapMs } = replacement;
    const org = parseOrgId(replacement.org);
    seconds('overlapMs', overlapMs, 0, MOST_OVERLAP_MS);
    if (overlapMs > 0 && overlapMs < this.#recordMaxAgeMs)
      throw new TypeError('overlapMs is neither 0 nor at least recordMaxAgeMs');
    const old = await this.#store.find(id);
    if (old === undefined || old.org !== org)
      throw new AuthzKeyConflictError('missing', 'the organisation has no such key');
    if (old.successor !== undefined)
      throw new AuthzKeyConflictError('rotated', 'the key has a successor already');
    if (old.revokedAt !== undefined || this.#now() >= old.expiresAt)
      throw new AuthzKeyConflictError('ended', 'the key has ended: create a new one');
    const { issued, record } = await this.#draw(replacement, old.name, old.scope);
    const overlapUntil = Math.min(old.expiresAt, floorToSecond(record.createdAt) + overlapMs);
    const outcome = await this.#store.rotate({ org, id, successor: record, overlapUntil });
    if (outcome === 'replayed') throw replayed();
    if (outcome === 'conflict')
      throw new AuthzKeyConflictError('rotated', 'the key was rotated or ended in the meantime');
    // Records at hand do not know the end yet. Those read up to now must not outlast it: without an overlap they count
    // no more; nor where a short one began within a second, or the store took its time.
    const outlasted = this.#now() + this.#recordMaxAgeMs > overlapUntil && overlapUntil < old.expiresAt;
    if (overlapMs === 0 || outlasted) await this.#revocations.revokeSubject(API_KEY_ISSUER, id);
    return issued;
  }

  async verify(given: string): Promise<VerifiedKey> {
    const alive = this.#alive(given);
    const { record, at } = alive instanceof Promise ? await alive : alive;
    return verifiedKey(record, at);
  }

  async admit(given: string): Promise<KeyAccess<R>> {
    const { record, at } = await this.#alive(given);
    const key = verifiedKey(record, at);
    // A directory for this one key: the guard asks for the key, the application knows its creator.
    const { creator } = record;
    const directory: SessionDirectory<Role> = {
      assurance: (org) => this.#directory.assurance(org),
      connectionOrg: (connection) => this.#directory.connectionOrg(connection),
      member: (org) => this.#directory.member(org, creator),
    };
    const guard = createSessionGuard({ directory, revocations: this.#revocations, ...this.#clock });
    const context = await guard.admit(key.session, record.org).catch((error: unknown) => {
      throw this.#noted(orphaned(error), record);
    });
    this.#lastUsed.note(record, this.#now());
    return new ScopedAccess(key, this.#policy(), context, record, this.#now);
  }

  async revoke(selection: KeySelection): Promise<number> {
    const ids = await this.#store.revoke(selection, Math.ceil(this.#now()));
    // Every one of them in this process before the first failure to tell another is reported.
    const told = await Promise.allSettled(
      ids.map((id) => this.#revocations.revokeSubject(API_KEY_ISSUER, id)),
    );
    for (const each of told) if (each.status === 'rejected') throw each.reason;
    return ids.length;
  }

  async report(given: OrgId, limits: KeyReportLimits): Promise<KeyReport> {
    const org = parseOrgId(given);
    const records = await this.#store.list(org);
    return await reportKeys(records, limits, {
      now: this.#now(),
      policy: this.#policy(),
      member: (creator) => this.#directory.member(org, creator),
    });
  }

  async flush(): Promise<void> {
    const flushed = await Promise.allSettled([this.#lastUsed.flush(), this.#refused?.flush()]);
    for (const each of flushed) if (each.status === 'rejected') throw each.reason;
  }

  /** The record of a key that is verified and has not ended; at once where it is at hand. */
  #alive(given: string): AliveKey | Promise<AliveKey> {
    const parsed = this.#format.parse(given);
    if (parsed === undefined)
      throw this.#noted(new AuthzKeyRefusedError('malformed', 'it is not a key of this application'));
    const digest = this.#records.digestOf(parsed.authenticated);
    const now = this.#now();
    const atHand = this.#records.get(digest, now);
    return atHand === undefined ? this.#read(parsed, digest) : this.#unended(atHand, now);
  }

  #unended(record: ApiKeyRecord, at: number): AliveKey {
    const refusal = endOf(record, at);
    if (refusal !== undefined) throw this.#noted(refusal, record);
    this.#refused?.pass(at);
    return { record, at };
  }

  /** Notes the error if it refuses a key, and gives it back as it is. */
  #noted(error: unknown, record?: ApiKeyRecord): unknown {
    const owner = record && { org: record.org, id: record.id };
    if (error instanceof AuthzKeyRefusedError || error instanceof AuthzSessionRefusedError)
      this.#refused?.note(owner, error.code, error.reason, this.#now());
    else if (error instanceof AuthzSessionInsufficientError)
      this.#refused?.note(owner, error.code, 'insufficient', this.#now());
    return error;
  }

  /** The record from the store, once its MAC is that of the key. */
  async #read(parsed: ParsedKey, digest: string): Promise<AliveKey> {
    const mark = this.#records.mark(this.#now());
    const found = await this.#store.find(parsed.id);
    // Checked for a key that does not exist as well: the time of the answer tells nothing about ids.
    if (!this.#mac.matches(parsed.authenticated, found) || found === undefined)
      throw this.#noted(new AuthzKeyRefusedError('unknown', 'there is no such key'));
    this.#records.keep(digest, found, mark);
    return this.#unended(found, this.#now()); // the store took its time
  }

  /** Draws a key for the person of the session, whose rights the scope is held against. */
  async #draw(
    request: KeyRequest,
    name: string,
    scope: KeyScope,
  ): Promise<{ readonly issued: IssuedKey; readonly record: ApiKeyRecord }> {
    const { session, lifetimeMs } = request;
    const requestId = text('requestId', request.requestId);
    seconds('lifetimeMs', lifetimeMs, SECOND, this.#maxLifetimeMs);
    const org = parseOrgId(request.org);
    const origin = keyOrigin(session); // refuses the session of a key
    const { principal } = await this.#guard.admit(session, org);
    const now = Math.floor(this.#now());
    const expiresAt = floorToSecond(now) + lifetimeMs;
    const given = { org, roles: scope.roles, actions: scope.actions, until: expiresAt };
    assertWithinCeiling(this.#policy(), 'api_key', { org, roles: principal.roles }, given);
    const { id, authenticated, text: drawn } = this.#format.draw();
    const record: ApiKeyRecord = {
      id,
      org,
      name,
      mac: this.#mac.of(authenticated),
      pepper: this.#mac.current,
      creator: { issuer: session.issuer, subject: session.subject },
      origin,
      scope,
      requestId,
      createdAt: now,
      expiresAt,
    };
    return { issued: Object.freeze({ id, expiresAt, key: new Secret(drawn) }), record };
  }
}

function replayed(): AuthzKeyConflictError {
  return new AuthzKeyConflictError('replayed', 'the request was carried out before');
}

/** A key for which nobody is there any more authenticates nobody: to whoever presents it, it is like one that was revoked. */
function orphaned(error: unknown): unknown {
  if (!(error instanceof AuthzSessionRefusedError)) return error;
  const { reason } = error;
  if (reason === 'member') return new AuthzKeyRefusedError(reason, 'its creator is no member any more');
  return reason === 'org' ? new AuthzKeyRefusedError(reason, 'its organisation is gone') : error;
}
