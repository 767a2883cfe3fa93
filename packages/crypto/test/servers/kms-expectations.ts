/** Contexts and expectations shared by the tests of the cloud KMS providers. */
import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { expect } from 'vitest';
import { RingfenceCryptoError } from '../../src/errors.ts';
import type { KmsProvider, WrapContext } from '../../src/kms.ts';
import { parseOrgId } from '../../src/org-id.ts';

export const CONTEXT: WrapContext = {
  app: 'ledger',
  org: parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60'),
  keyId: '000102030405060708090a0b0c0d0e0f',
  version: 3,
  purpose: 'dek',
};

export const OTHER_ORG: WrapContext = {
  ...CONTEXT,
  org: parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7aff'),
};

/** A wrap of a fresh key. */
export async function wrapFresh(
  provider: KmsProvider,
  kekUri: string,
  context: WrapContext = CONTEXT,
): Promise<{ key: Uint8Array; wrapped: Uint8Array }> {
  const key = new Uint8Array(randomBytes(32));
  const { wrapped } = await provider.wrap(kekUri, key, context);
  return { key, wrapped };
}

/** The typed error a call rejects with. */
export async function failureOf(call: Promise<unknown>): Promise<RingfenceCryptoError> {
  const error = await call.then(
    () => 'resolved',
    (reason: unknown) => reason,
  );
  if (!(error instanceof RingfenceCryptoError)) throw new Error(`not a typed error: ${inspect(error)}`);
  // No SDK object inside: it may hold the request, and with it the key.
  expect(error.cause).toBeUndefined();
  expect(error.retryable).toBe(error.code === 'crypto.kms_unavailable');
  return error;
}

/** Expects that nothing of `bytes` can be read from an error, in any common form. */
export function expectNoBytes(error: unknown, bytes: Uint8Array): void {
  const shown = `${inspect(error, { depth: 12, showHidden: true })}${JSON.stringify(error)}${String(error)}`;
  const part = Buffer.from(bytes).subarray(0, 12);
  for (const form of ['hex', 'base64', 'base64url', 'latin1'] as const) {
    expect(shown).not.toContain(part.toString(form));
  }
}
