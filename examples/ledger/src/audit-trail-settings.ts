/**
 * Settings of the audit trail's processes, from the environment. Each duty has its own, so that neither process holds what
 * the other needs: who copies has no signing key, who signs has no access to the store.
 *
 * Invariant: what is missing or malformed ends the start; a message names the setting, never its value.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { httpWitness, localSigner, type Witness } from '@ringfence/audit/checkpoint';
import { lockedBucket } from '@ringfence/audit/s3';
import { directoryStore, type WriteOnceStore } from '@ringfence/audit/write-once';
import { type OrgId, parseOrgId } from '@ringfence/tenancy';
import { z } from 'zod';
import { AUDIT_ORIGIN, type CopyingConfig, type SigningConfig } from './audit-trail.ts';

/** An environment. */
export type Environment = Readonly<Record<string, string | undefined>>;

const milliseconds = z.coerce.number().int().positive().optional();
const words = z
  .string()
  .default('')
  .transform((text) => text.split(/\s+/).filter((word) => word !== ''));

const common = {
  DATABASE_URL: z.string().min(1),
  SILENCE_MS: milliseconds,
  POLL_MS: milliseconds,
  WATCH_MS: milliseconds,
  ALARM_MS: milliseconds,
};
const signing = z.object({
  ...common,
  SIGNING_KEY_FILE: z.string().min(1),
  FORMER_KEYS: words,
  WITNESSES_FILE: z.string().min(1).optional(),
  EVERY_MS: milliseconds,
});
const copying = z.object({
  ...common,
  LOG_KEYS: words,
  COPY_TO: z.url({ protocol: /^(s3|file)$/ }),
  COPY_MODE: z.enum(['governance', 'compliance']).optional(),
  S3_ENDPOINT: z.url().optional(),
  UNSEALED_ALARM_MS: milliseconds,
});
const witnessesByOrg = z.record(z.uuid(), z.array(z.strictObject({ url: z.url(), key: z.string() })));

/** Times of a duty; what is not set has the duty's default. */
export interface DutyTimes {
  readonly pollMs?: number;
  readonly watchMs?: number;
  readonly alarmMs?: number;
  readonly everyMs?: number;
  readonly unsealedAlarmMs?: number;
}

/** What a process reads at its start. */
export interface DutySettings<C> {
  readonly config: C;
  readonly times: DutyTimes;
}

/**
 * Settings of signing.
 *
 * @throws TypeError when one is missing or malformed.
 */
export function signingSettings(env: Environment): DutySettings<SigningConfig> {
  const read = parsed(signing, env);
  const config: SigningConfig = {
    ...login(read),
    signer: named('SIGNING_KEY_FILE', () =>
      localSigner({ name: AUDIT_ORIGIN, privateKey: readFileSync(read.SIGNING_KEY_FILE, 'utf8') }),
    ),
    formerKeys: read.FORMER_KEYS,
    witnesses: named('WITNESSES_FILE', () => witnessesIn(read.WITNESSES_FILE)),
  };
  return { config, times: timesOf({ ...read, UNSEALED_ALARM_MS: undefined }) };
}

/**
 * Settings of copying. Credentials and region of S3 come from where the AWS SDK looks for them.
 *
 * @throws TypeError when one is missing or malformed.
 */
export function copyingSettings(env: Environment): DutySettings<CopyingConfig> {
  const read = parsed(copying, env);
  if (read.LOG_KEYS.length === 0) throw new TypeError('LOG_KEYS is missing: nothing could be copied');
  const store = named('COPY_TO', () => storeOf(new URL(read.COPY_TO), read));
  return {
    config: { ...login(read), store, keys: read.LOG_KEYS },
    times: timesOf({ ...read, EVERY_MS: undefined }),
  };
}

function storeOf(
  url: URL,
  { COPY_MODE, S3_ENDPOINT }: Pick<z.infer<typeof copying>, 'COPY_MODE' | 'S3_ENDPOINT'>,
): WriteOnceStore {
  if (url.protocol === 'file:') return directoryStore({ root: fileURLToPath(url) });
  if (COPY_MODE === undefined) throw new TypeError('a bucket needs COPY_MODE, governance or compliance');
  const prefix = url.pathname.slice(1);
  return lockedBucket({
    s3: S3_ENDPOINT === undefined ? {} : { endpoint: S3_ENDPOINT, forcePathStyle: true },
    bucket: url.hostname,
    ...(prefix === '' ? {} : { prefix }),
    mode: COPY_MODE,
  });
}

function witnessesIn(path: string | undefined): (org: OrgId) => readonly Witness[] {
  if (path === undefined) return () => [];
  const lists = witnessesByOrg.parse(JSON.parse(readFileSync(path, 'utf8')));
  const byOrg = new Map(Object.entries(lists).map(([org, list]) => [parseOrgId(org), list.map(httpWitness)]));
  return (org) => byOrg.get(org) ?? [];
}

function login(read: { readonly DATABASE_URL: string; readonly SILENCE_MS?: number | undefined }) {
  const { DATABASE_URL: databaseUrl, SILENCE_MS: silenceMs } = read;
  return { databaseUrl, ...(silenceMs === undefined ? {} : { silenceMs }) };
}

function timesOf(
  read: {
    readonly [K in 'POLL_MS' | 'WATCH_MS' | 'ALARM_MS' | 'EVERY_MS' | 'UNSEALED_ALARM_MS']?:
      | number
      | undefined;
  },
): DutyTimes {
  const times = {
    pollMs: read.POLL_MS,
    watchMs: read.WATCH_MS,
    alarmMs: read.ALARM_MS,
    everyMs: read.EVERY_MS,
    unsealedAlarmMs: read.UNSEALED_ALARM_MS,
  };
  return Object.fromEntries(Object.entries(times).filter(([, value]) => value !== undefined));
}

function parsed<T>(schema: z.ZodType<T>, env: Environment): T {
  const result = schema.safeParse(env);
  if (result.success) return result.data;
  const names = [...new Set(result.error.issues.map(({ path }) => path.join('.')))];
  throw new TypeError(`missing or malformed: ${names.join(', ')}`);
}

/** Whatever a library says about a key or a file stays behind: it could quote it. */
function named<T>(setting: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const { code } = (typeof error === 'object' && error !== null ? error : {}) as {
      readonly code?: unknown;
    };
    throw new TypeError(`${setting} cannot be used${typeof code === 'string' ? ` (${code})` : ''}`, {
      cause: error,
    });
  }
}
