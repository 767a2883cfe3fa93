/** Counts what `node:crypto` is asked for: `vi.mock('node:crypto', async (original) => counted(await original()))`. */

type Crypto = typeof import('node:crypto');

/** How often, since the test set it to 0. */
export const work = { macs: 0, comparisons: 0, digests: 0 };

/** The module, counting. */
export function counted(crypto: Crypto): Crypto {
  return {
    ...crypto,
    createHmac: (...args: Parameters<Crypto['createHmac']>) => {
      work.macs += 1;
      return crypto.createHmac(...args);
    },
    hash: ((...args: Parameters<Crypto['hash']>) => {
      work.digests += 1;
      return crypto.hash(...args);
    }) as Crypto['hash'],
    timingSafeEqual: (...args: Parameters<Crypto['timingSafeEqual']>) => {
      work.comparisons += 1;
      return crypto.timingSafeEqual(...args);
    },
  };
}
