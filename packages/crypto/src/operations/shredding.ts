/**
 * Crypto-shredding of a whole organisation: every wrap of every version is destroyed in one transaction, all processes
 * are told, and a certificate says what was done.
 * Invariant: a certificate is made only after the key store was read back and holds no wrap of the organisation, and only of
 * the tombstones read: whoever makes it, after whatever crash, certifies the same.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { RingfenceCryptoError } from '../errors.ts';
import type { OrgId } from '../org-id.ts';
import { canonicalJson } from './canonical-json.ts';
import { evictEverywhere, type OperationContext } from './operation-context.ts';

/** Why an organisation is shredded, and how long backups of the key store live. */
export interface ShredOptions {
  /** Reason, 1 to 500 characters: a contract or ticket number, not personal data. */
  readonly reason: string;
  /** How long backups of the key store are kept, ms: until then a restored one opens the data while the KEK lives. */
  readonly keyStoreBackupsMs?: number;
}

/** A version whose wraps are gone. */
export interface ShreddedVersion {
  /** Key id, 32 hex digits. */
  readonly keyId: string;
  /** Number, from 1. */
  readonly version: number;
}

/** Proof of a shred for the audit log. All values are JSON. */
export interface ShredCertificate {
  /** Format, 1. */
  readonly v: 1;
  /** Organisation. */
  readonly org: OrgId;
  /** Reason as given. */
  readonly reason: string;
  /** Time of the shred, ISO 8601 in UTC; that of the first call when it is repeated. */
  readonly shreddedAt: string;
  /** Every version the organisation ever had; none has a wrap any more. */
  readonly versions: readonly ShreddedVersion[];
  /** Wraps that were destroyed, by this call or the one it repeats. */
  readonly wrapsDestroyed: number;
  /** KEKs of those wraps; destroying an own KEK closes backups of the key store too. */
  readonly kekUris: readonly string[];
  /** True when all processes were told to wipe their keys; else they do when their leases end. */
  readonly notified: boolean;
  /** Until when backups of the key store may hold wraps, ISO 8601 in UTC, if their life was given. */
  readonly backupsHorizon?: string;
  /** SHA-256 of the canonical JSON (keys sorted, no white space) of all other members, 64 hex digits. */
  readonly digest: string;
}

/** Shreds; repeating it is harmless. */
export async function shredOrg(
  context: OperationContext,
  org: OrgId,
  options: ShredOptions,
): Promise<ShredCertificate> {
  const { reason, keyStoreBackupsMs } = options;
  if (typeof reason !== 'string' || reason.length < 1 || reason.length > 500) {
    throw new TypeError('the reason of a shred has 1 to 500 characters');
  }
  if (keyStoreBackupsMs !== undefined && !(Number.isFinite(keyStoreBackupsMs) && keyStoreBackupsMs >= 0)) {
    throw new TypeError('keyStoreBackupsMs must be a number of at least 0');
  }
  const before = await context.store.load(org);
  if (before.length === 0) {
    throw new RingfenceCryptoError('crypto.org_unknown', 'the organisation has no keys to destroy', { org });
  }
  await context.store.destroyWraps(org, context.now());
  const notified = await evictEverywhere(context, org);
  const after = await context.store.load(org);
  const tombstones = after.flatMap(({ tombstone, wraps }) =>
    tombstone === undefined || wraps.length > 0 ? [] : [tombstone],
  );
  if (tombstones.length < after.length || after.length < before.length) {
    throw new RingfenceCryptoError(
      'crypto.store_conflict',
      'the key store still holds a wrap after the shred: no certificate was made',
      { org },
      true,
    );
  }
  const shreddedAt = Math.max(...tombstones.map((tombstone) => tombstone.shreddedAt));
  const kekUris = tombstones.flatMap((tombstone) => tombstone.kekUris);
  const body: Omit<ShredCertificate, 'digest'> = {
    v: 1,
    org,
    reason,
    shreddedAt: new Date(shreddedAt).toISOString(),
    versions: after.map(({ keyId, version }) => ({ keyId, version })),
    wrapsDestroyed: kekUris.length,
    kekUris: [...new Set(kekUris)].sort(),
    notified,
    ...(keyStoreBackupsMs !== undefined && {
      backupsHorizon: new Date(shreddedAt + keyStoreBackupsMs).toISOString(),
    }),
  };
  return { ...body, digest: digestOf(body) };
}

/** True when the digest of a certificate is that of its other members. Says nothing about who made it. */
export function isIntactShredCertificate(certificate: ShredCertificate): boolean {
  const { digest, ...body } = certificate;
  const expected = Buffer.from(digestOf(body));
  const given = Buffer.from(String(digest));
  return given.length === expected.length && timingSafeEqual(given, expected);
}

function digestOf(body: Omit<ShredCertificate, 'digest'>): string {
  return createHash('sha256').update(canonicalJson(body)).digest('hex');
}
