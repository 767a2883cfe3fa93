import { describe, expectTypeOf, it } from 'vitest';
import type { OrgDb, OrgId, Tenancy } from '../src/index.ts';
import { createJobs, type Jobs, type JobsOptions } from '../src/jobs/index.ts';

interface Tables {
  'app.note': { id: string };
}
interface Queues {
  mail: { to: string };
  report: { month: string };
}
declare const jobs: Jobs<Queues, Tables>;
declare const org: OrgId;
declare const tenancy: Tenancy<Tables>;
const principal = { actor: 'user:a' };

describe('jobs', () => {
  it('take the payload of their queue only', () => {
    jobs.seal('mail', { org, principal, payload: { to: 'x' } });
    // @ts-expect-error the payload of another queue
    jobs.seal('mail', { org, principal, payload: { month: '2026-02' } });
    // @ts-expect-error no such queue
    jobs.seal('mial', { org, principal, payload: { to: 'x' } });
    // @ts-expect-error an organisation id that nobody parsed
    jobs.seal('mail', { org: 'x', principal, payload: { to: 'x' } });
    // @ts-expect-error nobody enqueues
    jobs.seal('mail', { org, payload: { to: 'x' } });
  });

  it('give their handler a handle of one organisation and no way to another', () => {
    jobs.worker('report', async (context) => {
      expectTypeOf(context.payload).toEqualTypeOf<{ month: string }>();
      expectTypeOf(context.db).toEqualTypeOf<OrgDb<Tables>>();
      expectTypeOf(context.storage).toEqualTypeOf<undefined>();
      expectTypeOf<keyof typeof context>().toEqualTypeOf<'db' | 'storage' | 'payload' | 'job' | 'once'>();
    });
  });

  it('have storage in their handlers if and only if they were given it', () => {
    const rest = { tenancy, keys: [], signingKeyId: 'j1', onRefused: () => {} };
    const storage = { forOrg: (_: OrgId) => ({ get: async (_: string) => new Uint8Array() }) };
    type Handle = ReturnType<typeof storage.forOrg>;
    createJobs<Queues, Tables, Handle>({ ...rest, storage }).worker('mail', async (context) => {
      expectTypeOf(context.storage).toEqualTypeOf<Handle>();
    });
    // @ts-expect-error handlers would get undefined where they were promised a handle
    createJobs<Queues, Tables, Handle>(rest);
  });

  it('cannot be made without anyone who hears of refusals', () => {
    expectTypeOf<JobsOptions<Queues, Tables>>().toHaveProperty('onRefused');
    // @ts-expect-error onRefused is missing
    createJobs<Queues, Tables>({ tenancy, keys: [], signingKeyId: 'j1' });
  });
});
