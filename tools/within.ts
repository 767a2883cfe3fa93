/**
 * For a wait that never ends once the guard under test is gone: the test then fails by saying what did not happen, not by
 * its time limit, which tells nothing and holds up the file. It is no measurement: the limit is far beyond what it takes.
 */
import { AssertionError } from 'node:assert';

/** The promise, or an assertion that fails when it has not settled within `limitMs`. */
export async function within<T>(what: string, promise: Promise<T>, limitMs = 15_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new AssertionError({ message: `${what}: it did not happen` })), limitMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
