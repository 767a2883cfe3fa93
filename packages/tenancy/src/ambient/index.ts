/**
 * An optional layer for code that cannot pass the handle as an argument: the handle of the surrounding asynchronous call.
 * What surrounds a callback is where it was queued, not where it was meant, so nothing here is taken on trust: who asks
 * for the handle says whose it expects, and another organisation inside one is refused.
 *
 * @packageDocumentation
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { RingfenceTenancyError } from '../errors.ts';
import type { OrgId } from '../org-id.ts';

export { RingfenceTenancyError, type TenancyErrorCode } from '../errors.ts';
export { type OrgId, parseOrgId } from '../org-id.ts';

/** Anything that belongs to one organisation: the handles of `createTenancy` and `createPgTenancy`. */
export interface OrgBound {
  /** The organisation. */
  readonly org: OrgId;
}

/** The surrounding handle. */
export interface OrgContext<Handle extends OrgBound> {
  /**
   * Runs a function, and all that it calls and awaits, with a handle around it.
   *
   * @throws RingfenceTenancyError `tenancy.ambient_mismatch` inside the context of another organisation.
   */
  readonly runWithOrg: <R>(handle: Handle, run: () => R) => R;
  /**
   * The organisation around this call.
   *
   * @throws RingfenceTenancyError `tenancy.no_context` when there is none.
   */
  readonly currentOrg: () => OrgId;
  /**
   * The handle around this call, for an organisation the caller knows from elsewhere: a row, a job, a path.
   *
   * @throws RingfenceTenancyError `tenancy.no_context` when there is none.
   * @throws RingfenceTenancyError `tenancy.ambient_mismatch` when it belongs to another organisation.
   */
  readonly currentDb: (expected: OrgId) => Handle;
}

/**
 * Makes a context of its own storage; an application has one.
 *
 * @example
 * ```ts
 * export const { runWithOrg, currentOrg, currentDb } = orgContext<OrgDb<Database>>();
 *
 * await runWithOrg(tenancy.forOrg(session.org, principal), async () => {
 *   await currentDb(invoice.org).selectFrom('app.note').selectAll().execute();
 * });
 * ```
 */
export function orgContext<Handle extends OrgBound>(): OrgContext<Handle> {
  const storage = new AsyncLocalStorage<Handle>();
  const current = (): Handle => {
    const handle = storage.getStore();
    if (handle !== undefined) return handle;
    throw new RingfenceTenancyError(
      'tenancy.no_context',
      'no organisation surrounds this call: it was not started by runWithOrg, or was queued outside of it',
    );
  };
  return {
    runWithOrg: (handle, run) => {
      const around = storage.getStore();
      if (around !== undefined) refuseUnlessSame(around.org, handle.org);
      return storage.run(handle, run);
    },
    currentOrg: () => current().org,
    currentDb: (expected) => {
      const handle = current();
      refuseUnlessSame(handle.org, expected);
      return handle;
    },
  };
}

function refuseUnlessSame(around: OrgId, asked: OrgId): void {
  if (around === asked) return;
  throw new RingfenceTenancyError(
    'tenancy.ambient_mismatch',
    `organisation ${around} surrounds this call, and organisation ${asked} was asked for`,
  );
}
