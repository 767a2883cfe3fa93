/**
 * What every KMS provider must do, as a list of cases for any test runner. A provider passes when each case resolves
 * against a fresh harness. The port's whole promise is here: binding to context, the closed list of error codes, no key
 * in any error.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { type CryptoErrorCode, RingfenceCryptoError } from '../errors.ts';
import type { KmsProvider, WrapContext } from '../kms.ts';
import { parseOrgId } from '../org-id.ts';

/** A provider under test with switches on the KMS behind it. */
export interface KmsHarness {
  /** The provider. */
  readonly provider: KmsProvider;
  /** URI of an enabled KEK. */
  readonly kekUri: string;
  /** URI of a second enabled KEK of the same KMS, if there is one. */
  readonly otherKekUri?: string;
  /** Disables the KEK. */
  disable(): Promise<void> | void;
  /** Enables the KEK again. */
  enable(): Promise<void> | void;
  /** Schedules the KEK's deletion. */
  scheduleDeletion(): Promise<void> | void;
  /** Destroys the KEK: the KMS answers as if it never existed. */
  destroy(): Promise<void> | void;
  /** Takes the caller's right to use the KEK. */
  deny?(): Promise<void> | void;
  /** Makes the next calls fail until the case ends. */
  inject?(fault: 'throttled' | 'timeout' | 'server_error' | 'malformed'): Promise<void> | void;
  /** Ends what the harness started; called after the case. */
  close?(): Promise<void> | void;
}

/** One case of the suite. */
export interface KmsConformanceCase {
  /** A sentence about behaviour. */
  readonly name: string;
  /** Optional part of the harness the case needs; skip it by name where that is missing. */
  readonly needs?: 'deny' | 'inject' | 'otherKekUri';
  /** Resolves when the provider behaves; rejects with what it did instead. */
  run(harness: KmsHarness): Promise<void>;
}

const CONTEXT: WrapContext = {
  app: 'conformance',
  org: parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60'),
  keyId: '000102030405060708090a0b0c0d0e0f',
  version: 1,
  purpose: 'dek',
};
const OTHER_CONTEXTS: readonly (readonly [string, WrapContext])[] = [
  ['organisation', { ...CONTEXT, org: parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61') }],
  ['version', { ...CONTEXT, version: 2 }],
  ['key id', { ...CONTEXT, keyId: '100102030405060708090a0b0c0d0e0f' }],
  ['application', { ...CONTEXT, app: 'another' }],
  ['purpose', { ...CONTEXT, purpose: 'subject' }],
];
const REFUSED: readonly CryptoErrorCode[] = ['crypto.wrap_tampered', 'crypto.key_denied'];

/** The cases. */
export const kmsConformance: readonly KmsConformanceCase[] = [
  {
    name: 'gives back the key it wrapped',
    async run({ provider, kekUri }) {
      const { key, wrapped } = await wrapOne(provider, kekUri);
      const opened = await provider.unwrap(kekUri, wrapped, CONTEXT);
      assert.ok(opened.key instanceof Uint8Array);
      assert.deepEqual([...opened.key], [...key]);
    },
  },
  {
    name: 'serves the scheme its KEK URIs begin with and reports an enabled KEK',
    async run({ provider, kekUri }) {
      assert.ok(kekUri.startsWith(`${provider.scheme}:`));
      assert.equal(await provider.describe(kekUri), 'enabled');
    },
  },
  {
    name: 'leaves the key it was given untouched and gives a caller its own copy',
    async run({ provider, kekUri }) {
      const { key, wrapped } = await wrapOne(provider, kekUri);
      assert.ok(key.some((byte) => byte !== 0));
      const first = await provider.unwrap(kekUri, wrapped, CONTEXT);
      first.key.fill(0);
      const second = await provider.unwrap(kekUri, wrapped, CONTEXT);
      assert.deepEqual([...second.key], [...key]);
    },
  },
  {
    name: 'never makes the same wrap twice and never shows the key in it',
    async run({ provider, kekUri }) {
      const { key, wrapped } = await wrapOne(provider, kekUri);
      const again = await provider.wrap(kekUri, key, CONTEXT);
      assert.notDeepEqual([...again.wrapped], [...wrapped]);
      assert.equal(Buffer.from(wrapped).includes(key), false);
    },
  },
  ...OTHER_CONTEXTS.map(
    ([what, context]): KmsConformanceCase => ({
      name: `refuses a wrap under another ${what}`,
      async run({ provider, kekUri }) {
        const { key, wrapped } = await wrapOne(provider, kekUri);
        await refuses(() => provider.unwrap(kekUri, wrapped, context), REFUSED, key);
      },
    }),
  ),
  {
    name: 'refuses a wrap under another KEK',
    needs: 'otherKekUri',
    async run({ provider, kekUri, otherKekUri }) {
      assert.ok(otherKekUri !== undefined);
      const { key, wrapped } = await wrapOne(provider, kekUri);
      await refuses(() => provider.unwrap(otherKekUri, wrapped, CONTEXT), REFUSED, key);
    },
  },
  {
    name: 'refuses a truncated wrap',
    async run({ provider, kekUri }) {
      const { key, wrapped } = await wrapOne(provider, kekUri);
      for (const length of [0, 1, wrapped.length >> 1, wrapped.length - 1]) {
        await refuses(() => provider.unwrap(kekUri, wrapped.slice(0, length), CONTEXT), REFUSED, key);
      }
    },
  },
  {
    name: 'refuses an extended wrap',
    async run({ provider, kekUri }) {
      const { key, wrapped } = await wrapOne(provider, kekUri);
      const longer = new Uint8Array(wrapped.length + 1);
      longer.set(wrapped);
      await refuses(() => provider.unwrap(kekUri, longer, CONTEXT), REFUSED, key);
    },
  },
  {
    name: 'refuses a wrap with any flipped byte',
    async run({ provider, kekUri }) {
      const { key, wrapped } = await wrapOne(provider, kekUri);
      const step = Math.max(1, Math.floor(wrapped.length / 64));
      for (let at = 0; at < wrapped.length; at += step) {
        const flipped = wrapped.slice();
        flipped[at] = (flipped[at] as number) ^ 0x01;
        await refuses(() => provider.unwrap(kekUri, flipped, CONTEXT), REFUSED, key);
      }
    },
  },
  {
    name: 'answers key_revoked while the KEK is disabled and works again once it is enabled',
    async run(harness) {
      const { provider, kekUri } = harness;
      const { key, wrapped } = await wrapOne(provider, kekUri);
      await harness.disable();
      await refusesAll(provider, kekUri, key, wrapped, ['crypto.key_revoked']);
      assert.equal(await provider.describe(kekUri), 'disabled');
      await harness.enable();
      assert.deepEqual([...(await provider.unwrap(kekUri, wrapped, CONTEXT)).key], [...key]);
    },
  },
  {
    name: 'answers key_destroyed while the KEK is pending deletion',
    async run(harness) {
      const { provider, kekUri } = harness;
      const { key, wrapped } = await wrapOne(provider, kekUri);
      await harness.scheduleDeletion();
      await refusesAll(provider, kekUri, key, wrapped, ['crypto.key_destroyed']);
      // Some clouds no longer show a key whose deletion has begun.
      assert.ok(['pending_deletion', 'destroyed'].includes(await provider.describe(kekUri)));
    },
  },
  {
    name: 'answers key_destroyed once the KEK is destroyed',
    async run(harness) {
      const { provider, kekUri } = harness;
      const { key, wrapped } = await wrapOne(provider, kekUri);
      await harness.destroy();
      await refusesAll(provider, kekUri, key, wrapped, ['crypto.key_destroyed']);
      assert.equal(await provider.describe(kekUri), 'destroyed');
    },
  },
  {
    name: 'answers key_denied when the caller may not use the KEK',
    needs: 'deny',
    async run(harness) {
      const { provider, kekUri } = harness;
      const { key, wrapped } = await wrapOne(provider, kekUri);
      await harness.deny?.();
      await refusesAll(provider, kekUri, key, wrapped, ['crypto.key_denied']);
    },
  },
  ...(['throttled', 'timeout', 'server_error'] as const).map(
    (fault): KmsConformanceCase => ({
      name: `answers kms_unavailable, retryable, on ${fault}`,
      needs: 'inject',
      async run(harness) {
        const { provider, kekUri } = harness;
        const { key, wrapped } = await wrapOne(provider, kekUri);
        await harness.inject?.(fault);
        await refusesAll(provider, kekUri, key, wrapped, ['crypto.kms_unavailable'], true);
      },
    }),
  ),
  {
    name: 'answers kms_malformed_answer when the KMS answers nonsense',
    needs: 'inject',
    async run(harness) {
      const { provider, kekUri } = harness;
      const { key, wrapped } = await wrapOne(provider, kekUri);
      await harness.inject?.('malformed');
      await refusesAll(provider, kekUri, key, wrapped, ['crypto.kms_malformed_answer']);
    },
  },
  {
    name: 'rejects as unavailable when the caller aborts before the answer',
    needs: 'inject',
    async run(harness) {
      const { provider, kekUri } = harness;
      const { key, wrapped } = await wrapOne(provider, kekUri);
      await harness.inject?.('timeout');
      const signal = AbortSignal.abort();
      await refuses(
        () => provider.unwrap(kekUri, wrapped, CONTEXT, { signal }),
        ['crypto.kms_unavailable'],
        key,
        true,
      );
    },
  },
];

async function wrapOne(
  provider: KmsProvider,
  kekUri: string,
): Promise<{ readonly key: Uint8Array; readonly wrapped: Uint8Array }> {
  const key = new Uint8Array(randomBytes(32));
  const { wrapped } = await provider.wrap(kekUri, key, CONTEXT);
  assert.ok(wrapped instanceof Uint8Array && wrapped.length > 0);
  return { key, wrapped };
}

async function refusesAll(
  provider: KmsProvider,
  kekUri: string,
  key: Uint8Array,
  wrapped: Uint8Array,
  codes: readonly CryptoErrorCode[],
  retryable = false,
): Promise<void> {
  await refuses(() => provider.unwrap(kekUri, wrapped, CONTEXT), codes, key, retryable);
  await refuses(() => provider.wrap(kekUri, key, CONTEXT), codes, key, retryable);
}

async function refuses(
  call: () => Promise<unknown>,
  codes: readonly CryptoErrorCode[],
  key: Uint8Array,
  retryable = false,
): Promise<void> {
  const error = await call().then(
    () => assert.fail(`resolved instead of rejecting with ${codes.join(' or ')}`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof RingfenceCryptoError, `not a RingfenceCryptoError: ${inspect(error)}`);
  assert.ok(codes.includes(error.code), `expected ${codes.join(' or ')}, got ${error.code}`);
  assert.equal(error.retryable, retryable);
  const shown = inspect(error, { depth: 10, showHidden: true }) + JSON.stringify(error) + String(error.stack);
  for (const form of ['hex', 'base64', 'base64url', 'latin1'] as const) {
    assert.equal(shown.includes(Buffer.from(key).toString(form)), false, `the error shows the key (${form})`);
  }
}
