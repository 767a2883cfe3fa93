import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { SaltSource, systemRandom } from '../src/salt-source.ts';

afterEach(() => {
  vi.useRealTimers();
});

function take(source: SaltSource): string {
  const salt = new Uint8Array(24);
  source.take(salt, 0);
  return Buffer.from(salt).toString('hex');
}

/** A source whose pool the test can look into. */
function open(pooled = true) {
  let pool = new Uint8Array(0);
  let fills = 0;
  const source = new SaltSource((buffer) => {
    fills += 1;
    pool = buffer as Uint8Array<ArrayBuffer>;
    systemRandom(buffer);
  }, pooled);
  return { source, pool: () => pool, fills: () => fills };
}

describe('the salt pool', () => {
  it('draws nothing before the first salt, so that a process snapshot holds none', () => {
    expect(open().fills()).toBe(0);
  });

  it('wipes each salt as it leaves', () => {
    const { source, pool } = open();
    for (let i = 1; i <= 341; i += 1) {
      take(source);
      expect(
        pool()
          .subarray(0, i * 24)
          .every((byte) => byte === 0),
      ).toBe(true);
    }
    expect(pool().length).toBe(341 * 24);
  });

  it('never repeats a salt within and across blocks', () => {
    const { source, fills } = open();
    const salts = new Set(Array.from({ length: 3000 }, () => take(source)));
    expect(salts.size).toBe(3000);
    expect(fills()).toBe(Math.ceil(3000 / 341));
  });

  it('is wiped after a second without use, and not while in use', () => {
    vi.useFakeTimers();
    const { source, pool, fills } = open();
    take(source);
    vi.advanceTimersByTime(500);
    take(source);
    vi.advanceTimersByTime(600);
    expect(pool().some((byte) => byte !== 0)).toBe(true);
    vi.advanceTimersByTime(1000);
    expect(pool().every((byte) => byte === 0)).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
    take(source);
    expect(fills()).toBe(2);
  });

  it('gives no salt when the random source fails, and goes on when it works again', () => {
    let broken = false;
    const source = new SaltSource((buffer) => {
      if (broken) throw new Error('no entropy');
      systemRandom(buffer);
    }, true);
    const before = Array.from({ length: 341 }, () => take(source));
    broken = true;
    expect(() => take(source)).toThrow('no entropy');
    expect(() => take(source)).toThrow('no entropy');
    broken = false;
    expect(before).not.toContain(take(source));
  });

  it('switched off draws for every message', () => {
    const { source, fills, pool } = open(false);
    take(source);
    take(source);
    expect(fills()).toBe(2);
    expect(pool().length).toBe(24);
  });

  it('repeats in no child process', () => {
    const child = fileURLToPath(new URL('./salt-child.ts', import.meta.url));
    const run = () => execFileSync(process.execPath, [child], { encoding: 'utf8' }).trim().split('\n');
    const all = [
      ...run(),
      ...run(),
      ...Array.from(
        { length: 400 },
        (
          (s) => () =>
            take(s)
        )(open().source),
      ),
    ];
    expect(all).toHaveLength(1200);
    expect(new Set(all).size).toBe(1200);
  });
});
