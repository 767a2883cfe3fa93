/**
 * One call to a KMS provider, by keyring and key operations alike: a time limit, and an entry in the key-use ledger.
 * Invariants: the caller goes on at the limit even when the provider ignores its signal; an answer that comes later is
 * handed to `onLate` to be wiped and is never used. Every request id the provider tells is in the ledger once, late ones
 * too, as they are in the log of the KMS.
 */
import { CallGivenUp, withDeadline } from './deadline.ts';
import { RingfenceCryptoError } from './errors.ts';
import type { KmsCall } from './key-use/key-use.ts';
import type { LeaseUse } from './key-use/lease-use.ts';
import type { KmsCallOptions } from './kms.ts';

/** A call, as the ledger names it, and how long it may take. */
export interface KmsCallTerms extends Pick<KmsCall, 'operation' | 'kekUri' | 'keyId'> {
  readonly timeoutMs: number;
  readonly keyUse: LeaseUse | undefined;
}

/** Calls a provider within the limit. */
export async function callKms<T>(
  { timeoutMs, keyUse, ...named }: KmsCallTerms,
  call: (options: KmsCallOptions) => Promise<T>,
  onLate: (late: T) => void,
): Promise<T> {
  let settled = false;
  const told = new Set<string>();
  const note = (requestId: string | undefined, outcome: KmsCall['outcome'], more: readonly string[]): void =>
    keyUse?.called({
      ...named,
      requestId: requestId ?? null,
      ...(more.length > 0 && { moreRequestIds: more }),
      outcome,
    });
  const settle = (ofAnswer: string | undefined, outcome: KmsCall['outcome']): void => {
    settled = true;
    const requestId = ofAnswer ?? [...told].at(-1);
    note(
      requestId,
      outcome,
      [...told].filter((id) => id !== requestId),
    );
  };
  const late = (requestId: string): void => {
    if (!told.has(requestId)) note(requestId, 'late', []);
    told.add(requestId);
  };
  const onRequestId = (requestId: string): void => {
    if (settled) late(requestId);
    else told.add(requestId);
  };
  const ask = async (signal: AbortSignal): Promise<T> => {
    const answer = await call({ signal, onRequestId });
    if (signal.aborted) {
      onLate(answer);
      const requestId = requestIdOf(answer);
      if (requestId !== undefined) late(requestId);
      else if (told.size === 0) note(undefined, 'late', []);
    }
    return answer;
  };
  try {
    const answer = await withDeadline(timeoutMs, undefined, ask);
    settle(requestIdOf(answer), 'ok');
    return answer;
  } catch (thrown) {
    const error = thrown instanceof CallGivenUp ? silence(timeoutMs, named.kekUri) : thrown;
    const typed = error instanceof RingfenceCryptoError ? error : undefined;
    settle(typed?.details.requestId, typed?.code ?? 'error');
    throw error;
  }
}

function silence(timeoutMs: number, kekUri: string): RingfenceCryptoError {
  const message = `the KMS did not answer within ${timeoutMs} ms`;
  return new RingfenceCryptoError('crypto.kms_unavailable', message, { kekUri }, true);
}

/** Not every answer is what the provider's type says. */
function requestIdOf(answer: unknown): string | undefined {
  const { requestId } = (answer ?? {}) as { readonly requestId?: unknown };
  return typeof requestId === 'string' ? requestId : undefined;
}
