/** The entry point for those who use `pg` itself, or a library on top of it: pools bound to one organisation. */
import { ContextSigner, type Principal } from '../context.ts';
import { OrgConnection } from '../org-connection.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import { SessionPool } from '../session-pool.ts';
import type { TenancyOptions } from '../tenancy.ts';
import { type OrgPool, orgPool } from './org-pool.ts';

/** Makes pools bound to one organisation. */
export interface PgTenancy {
  /**
   * A pool for one organisation and principal: cheap to make, one per request, over the connections all share.
   *
   * @throws TypeError when `org` is not a lower-case UUID.
   * @throws RingfenceTenancyError `tenancy.invalid_context` when the principal has a character the format refuses.
   */
  forOrg(org: OrgId, principal: Principal): OrgPool;
}

/**
 * Makes the tenancy of one `pg` pool. The pool must not be used elsewhere: a statement that does not pass through a handle
 * has no context and is refused by the policies.
 *
 * @throws TypeError when the context key is malformed.
 * @example
 * ```ts
 * const tenancy = createPgTenancy({ pool, contextKey });
 * const db = tenancy.forOrg(parseOrgId(session.org), { actor: `user:${session.user}` });
 * const { rows } = await db.query('select body from app.note where id = $1', [id]);
 * ```
 */
export function createPgTenancy(options: TenancyOptions): PgTenancy {
  const sessions = new SessionPool(options.pool, options.preparedStatements ?? { limit: 500 });
  const signer = new ContextSigner(options.contextKey, options.contextLifetimeMs ?? 60_000);
  const now = options.now ?? Date.now;
  const take = () => sessions.take();
  return {
    forOrg: (org, principal) => {
      const parsed = parseOrgId(org);
      const mint = signer.mintFor(parsed, principal);
      return orgPool(parsed, async () => new OrgConnection(await take(), take, mint, now));
    },
  };
}
