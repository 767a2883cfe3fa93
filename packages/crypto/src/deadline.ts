/**
 * One deadline for a whole KMS call: credentials, connection, the SDK's own retries and the answer together.
 * The caller is released at the deadline even when the SDK ignores its abort signal; a late answer is dropped.
 */

/** Why a call was given up. */
export type GivenUp = 'timeout' | 'aborted';

/** Thrown when the deadline passed or the caller aborted. Internal: the driver turns it into a typed error. */
export class CallGivenUp extends Error {
  readonly givenUp: GivenUp;

  constructor(givenUp: GivenUp) {
    super(givenUp);
    this.givenUp = givenUp;
  }
}

/** Longest deadline, in ms: a KMS that needs longer is down. */
const MAX_TIMEOUT_MS = 60_000;

/** Checks a time-out given by the programmer. */
export function checkTimeout(timeoutMs: number): number {
  if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > MAX_TIMEOUT_MS) {
    throw new TypeError(`timeoutMs must be an integer from 1 to ${MAX_TIMEOUT_MS}`);
  }
  return timeoutMs;
}

/** Runs `call` and rejects with `CallGivenUp` when it has not settled after `timeoutMs` or `signal` aborts. */
export async function withDeadline<T>(
  timeoutMs: number,
  signal: AbortSignal | undefined,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  if (signal?.aborted) throw new CallGivenUp('aborted');
  const controller = new AbortController();
  let giveUp: (why: GivenUp) => void = () => undefined;
  const givenUp = new Promise<never>((_resolve, reject) => {
    giveUp = (why) => {
      // Reject before aborting: the SDK's own abort error must not win the race.
      reject(new CallGivenUp(why));
      controller.abort();
    };
  });
  const timer = setTimeout(() => giveUp('timeout'), timeoutMs);
  const onAbort = (): void => giveUp('aborted');
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([call(controller.signal), givenUp]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}
