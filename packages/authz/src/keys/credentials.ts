/**
 * Credentials of integrations (an accounting system, a bank aggregator): sealed before they are stored, opened for one
 * use at a time, each use written down before the secret is handed out. Invariants: no plaintext is stored or printed; a
 * sealed secret opens only as what it was sealed for (organisation, credential, version); no use goes unreported.
 */
import { randomUUID } from 'node:crypto';
import type { OrgId } from '../org-id.ts';
import { parseOrgId } from '../org-id.ts';
import { type Clock, clockOf, steadyTime } from '../session/clock.ts';
import type { CredentialRecord, CredentialStore, CredentialUse } from './credential-store.ts';
import { AuthzCredentialRefusedError } from './errors.ts';
import { Secret } from './secret.ts';

/** Where a secret stands: what is sealed for one place does not open at another. */
export interface CredentialCell {
  /** `authz.credential`. */
  readonly table: string;
  /** `secret`. */
  readonly column: string;
  /** Id and version of the credential. */
  readonly row: string;
}

/** Seals and opens under a key of the organisation; `@ringfence/crypto` has what fills it. */
export interface CredentialSealer {
  /** Seals bytes, bound to organisation and cell. */
  seal(org: OrgId, plaintext: Uint8Array, cell: CredentialCell): Promise<Uint8Array>;
  /** Opens what `seal` made, at the same place only; rejects anything else. */
  open(org: OrgId, sealed: Uint8Array, cell: CredentialCell): Promise<Uint8Array>;
}

/** What credentials need. */
export interface CredentialsOptions extends Partial<Clock> {
  /** Seals them. */
  readonly sealer: CredentialSealer;
  /** Where they are stored. */
  readonly store: CredentialStore;
  /** Writes a use down, for the audit log. Awaited before the secret is handed out: when it rejects, nothing is. */
  readonly report: (use: CredentialUse) => Promise<void>;
}

/** A credential to be stored. */
export interface CredentialInput {
  /** The organisation. */
  readonly org: OrgId;
  /** The other system, e.g. `quickbooks`. */
  readonly provider: string;
  /** The secret. */
  readonly secret: Secret;
  /** What the other system lets it do, in that system's words. */
  readonly scopes: readonly string[];
  /** Age at which it is due for rotation, in ms. */
  readonly rotateAfterMs: number;
}

/** One use of a credential. */
export interface CredentialRequest {
  /** The organisation. */
  readonly org: OrgId;
  /** The credential. */
  readonly id: string;
  /** The scope that this use needs. */
  readonly scope: string;
  /** Who uses it: id of a person, key or job. */
  readonly actor: string;
  /** What for, for the audit log. */
  readonly purpose: string;
}

/** Stores and hands out credentials of integrations. */
export interface Credentials {
  /** Seals and stores one; gives its id. */
  add(input: CredentialInput): Promise<string>;
  /**
   * Reports the use, opens the secret and runs `work` with it. The secret is not to be kept.
   *
   * @throws AuthzCredentialRefusedError `authz.credential_refused`.
   */
  use<T>(request: CredentialRequest, work: (secret: Secret) => Promise<T>): Promise<T>;
  /**
   * Replaces the secret. Of two at once one wins.
   *
   * @throws AuthzCredentialRefusedError `authz.credential_refused`.
   */
  rotate(target: { readonly org: OrgId; readonly id: string }, secret: Secret): Promise<void>;
  /** Ends a credential and deletes its secret from the store. */
  revoke(target: { readonly org: OrgId; readonly id: string }): Promise<void>;
  /** Ids of the credentials of an organisation that are due for rotation. */
  due(org: OrgId): Promise<readonly string[]>;
}

/** Makes credentials over a sealer and a store. */
export function createCredentials(options: CredentialsOptions): Credentials {
  return new SealedCredentials(options);
}

class SealedCredentials implements Credentials {
  readonly #sealer: CredentialSealer;
  readonly #store: CredentialStore;
  readonly #report: (use: CredentialUse) => Promise<void>;
  readonly #now: () => number;

  constructor({ sealer, store, report, ...clock }: CredentialsOptions) {
    this.#sealer = sealer;
    this.#store = store;
    this.#report = report;
    this.#now = steadyTime(clockOf(clock));
  }

  async add({ org: given, provider, secret, scopes, rotateAfterMs }: CredentialInput): Promise<string> {
    const org = parseOrgId(given);
    if (typeof provider !== 'string' || provider === '') throw new TypeError('provider is not a string');
    if (!Array.isArray(scopes) || !scopes.every((scope) => typeof scope === 'string' && scope !== ''))
      throw new TypeError('scopes is not an array of strings');
    if (!Number.isSafeInteger(rotateAfterMs) || rotateAfterMs < 1)
      throw new TypeError('rotateAfterMs is not a number of ms');
    const id = randomUUID();
    const sealed = await this.#seal(org, id, 1, secret);
    const rotatedAt = Math.floor(this.#now());
    await this.#store.insert({ id, org, provider, sealed, version: 1, scopes, rotateAfterMs, rotatedAt });
    return id;
  }

  async use<T>(request: CredentialRequest, work: (secret: Secret) => Promise<T>): Promise<T> {
    const { id, scope, actor, purpose } = request;
    const org = parseOrgId(request.org);
    const { provider, sealed, version, scopes } = await this.#find(org, id);
    if (!scopes.includes(scope))
      throw new AuthzCredentialRefusedError('scope', 'it lacks the scope asked for');
    const at = Math.floor(this.#now());
    await this.#report({ org, id, provider, version, scope, actor, purpose, at });
    const opened = await this.#sealer.open(org, sealed, cellOf(id, version));
    return await work(new Secret(new TextDecoder('utf-8', { fatal: true }).decode(opened)));
  }

  async rotate(target: { readonly org: OrgId; readonly id: string }, secret: Secret): Promise<void> {
    const org = parseOrgId(target.org);
    const { id } = target;
    const { version } = await this.#find(org, id);
    const sealed = await this.#seal(org, id, version + 1, secret);
    const replaced = await this.#store.replace({
      org,
      id,
      from: version,
      sealed,
      rotatedAt: Math.floor(this.#now()),
    });
    if (!replaced) throw new AuthzCredentialRefusedError('changed', 'somebody else changed it meanwhile');
  }

  async revoke({ org, id }: { readonly org: OrgId; readonly id: string }): Promise<void> {
    await this.#store.revoke(parseOrgId(org), id, Math.ceil(this.#now()));
  }

  async due(org: OrgId): Promise<readonly string[]> {
    const now = this.#now();
    const records = await this.#store.list(parseOrgId(org));
    return records
      .filter(({ revokedAt, rotatedAt, rotateAfterMs }) => !revokedAt && now - rotatedAt >= rotateAfterMs)
      .map(({ id }) => id);
  }

  async #find(org: OrgId, id: string): Promise<CredentialRecord & { readonly sealed: Uint8Array }> {
    const record = await this.#store.find(org, id);
    if (record === undefined || record.org !== org || record.id !== id)
      throw new AuthzCredentialRefusedError('missing', 'the organisation has no such credential');
    const { sealed, revokedAt } = record;
    if (revokedAt !== undefined || sealed === undefined)
      throw new AuthzCredentialRefusedError('revoked', 'it was disconnected');
    return { ...record, sealed };
  }

  async #seal(org: OrgId, id: string, version: number, secret: Secret): Promise<Uint8Array> {
    if (!(secret instanceof Secret)) throw new TypeError('secret is not a Secret');
    return await this.#sealer.seal(org, new TextEncoder().encode(secret.reveal()), cellOf(id, version));
  }
}

function cellOf(id: string, version: number): CredentialCell {
  return { table: 'authz.credential', column: 'secret', row: `${id}/${version}` };
}
