import { EventEmitter } from 'node:events';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { orgContext } from '../../src/ambient/index.ts';
import type { OrgDb } from '../../src/index.ts';
import { ALICE, codeOf, type Fixture, fixture, ORG_A, ORG_B, type Tables } from '../fixture.ts';

const { runWithOrg, currentOrg, currentDb } = orgContext<OrgDb<Tables>>();

let f: Fixture;
let a: OrgDb<Tables>;
let b: OrgDb<Tables>;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
  a = f.tenancy.forOrg(ORG_A, ALICE);
  b = f.tenancy.forOrg(ORG_B, ALICE);
});
afterAll(() => f.close());

const thrown = (run: () => unknown) => codeOf(Promise.resolve().then(run));
const notes = () => currentDb(currentOrg()).selectFrom('app.note').select('org_id').execute();

describe('the surrounding organisation', () => {
  test('is that of the run, through awaits, timers and promises', async () => {
    const seen = await runWithOrg(a, async () => {
      await notes();
      await new Promise((resolve) => setImmediate(resolve));
      return [currentOrg(), currentDb(ORG_A) === a, await notes()];
    });
    expect(seen).toEqual([ORG_A, true, [{ org_id: ORG_A }]]);
  });

  test('is an error where there is none, never undefined', async () => {
    expect(await thrown(() => currentOrg())).toBe('tenancy.no_context');
    expect(await thrown(() => currentDb(ORG_A))).toBe('tenancy.no_context');
    await runWithOrg(a, async () => {});
    expect(await thrown(() => currentOrg())).toBe('tenancy.no_context');
  });

  test('stays apart in two requests that interleave', async () => {
    let arrived = 0;
    let open: () => void = () => {};
    const barrier = new Promise<void>((resolve) => {
      open = resolve;
    });
    const request = (db: OrgDb<Tables>) =>
      runWithOrg(db, async () => {
        if (++arrived === 2) open();
        await barrier;
        return await notes();
      });
    expect(await Promise.all([request(a), request(b)])).toEqual([[{ org_id: ORG_A }], [{ org_id: ORG_B }]]);
  });

  test('is not what a callback gets that was queued outside', async () => {
    const queue: (() => unknown)[] = [];
    const emitter = new EventEmitter();
    emitter.on('job', (run: () => void) => run());
    const outside = new Promise<string>((resolve) => {
      queue.push(() => resolve(thrownSync(() => currentOrg())));
    });
    queueMicrotask(() => setImmediate(() => queue[0]?.()));
    await runWithOrg(a, async () => {
      let inListener: unknown;
      emitter.emit('job', () => {
        inListener = currentOrg();
      });
      expect(inListener).toBe(ORG_A); // a listener belongs to who emits
      expect(await outside).toBe('tenancy.no_context');
    });
  });

  test('is refused when a callback of one request runs in another', async () => {
    const flushes: ((reason: unknown) => void)[] = [];
    const batched = new Promise((resolve) => {
      flushes.push(resolve);
    });
    // A loader that one request fills and another flushes: the work for A runs in the surroundings of B.
    const pending: { org: typeof ORG_A }[] = [];
    runWithOrg(a, () => pending.push({ org: currentOrg() }));
    runWithOrg(b, () => {
      for (const { org } of pending) flushes[0]?.(thrownSync(() => currentDb(org)));
    });
    expect(await batched).toBe('tenancy.ambient_mismatch');
  });

  test('cannot be another one inside: a nested run with a foreign handle is refused', async () => {
    let ran = false;
    const nested = () =>
      runWithOrg(a, () =>
        runWithOrg(b, () => {
          ran = true;
        }),
      );
    expect(await thrown(nested)).toBe('tenancy.ambient_mismatch');
    expect(ran).toBe(false);
    const same = f.tenancy.forOrg(ORG_A, { actor: 'user:bob' });
    expect(runWithOrg(a, () => runWithOrg(same, () => currentDb(ORG_A)))).toBe(same);
  });

  test('lends a handle that writes and reads no other organisation', async () => {
    await runWithOrg(a, async () => {
      const foreign = { org_id: ORG_B, id: 'x', body: 'x' };
      expect(await codeOf(currentDb(ORG_A).insertInto('app.note').values(foreign).execute())).toBe(
        'tenancy.cross_org_write',
      );
      const undone = currentDb(ORG_A)
        .transaction()
        .execute(async (trx) => {
          await trx.insertInto('app.tag').values({ org_id: ORG_A, id: 'ambient', label: 'x' }).execute();
          throw new Error('no');
        });
      await expect(undone).rejects.toThrow('no');
      expect(await currentDb(ORG_A).selectFrom('app.tag').selectAll().execute()).toEqual([]);
      expect(await notes()).toEqual([{ org_id: ORG_A }]);
    });
  });
});

function thrownSync(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return 'none';
}
