/**
 * Prisma clients bound to one organisation, over `@prisma/adapter-pg`.
 *
 * Prisma puts the `findUnique` calls of one tick into one query, whichever `$extends` of a client they came from. A client
 * that took its organisation from the surroundings would answer one organisation with rows of another, so each
 * organisation and principal has a client of its own; clients hold no connections and share the pool's.
 *
 * @packageDocumentation
 */
import type { Pool } from 'pg';
import type { Principal } from '../context.ts';
import type { OrgId } from '../org-id.ts';
import type { PgTenancy } from '../pg/pg-tenancy.ts';

export type { Principal } from '../context.ts';
export { type OrgId, parseOrgId } from '../org-id.ts';
export type { PgTenancy } from '../pg/pg-tenancy.ts';

/** What is used of `PrismaPg`, the driver adapter of `@prisma/adapter-pg`. */
export interface PrismaPgAdapter {
  /** Called by Prisma when the client connects. */
  connect(): Promise<{
    /** The pool that statements are sent through. */
    underlyingDriver(): unknown;
  }>;
}

/** The class of a driver adapter. */
export interface PrismaPgClass<Adapter extends PrismaPgAdapter> {
  /** Makes an adapter over a pool. */
  new (pool: Pool): Adapter;
}

/** Settings of `prismaClients`. */
export interface PrismaClientsOptions<Adapter extends PrismaPgAdapter, Client extends object> {
  /** Makes the pool each client works on. */
  readonly tenancy: PgTenancy;
  /** The class `PrismaPg` of `@prisma/adapter-pg`. */
  readonly PrismaPg: PrismaPgClass<Adapter>;
  /** Makes a client: `(adapter) => new PrismaClient({ adapter })`. */
  readonly create: (adapter: Adapter) => Client;
  /** Clients kept; the least recently used is forgotten. About 80 KB each. Default 100. */
  readonly max?: number;
}

/** Prisma clients by organisation and principal. */
export interface PrismaClients<Client> {
  /**
   * The client of an organisation and principal: kept from an earlier call, or made. A `requestId` makes it one of its own.
   *
   * @throws TypeError when `org` is not a lower-case UUID.
   * @throws RingfenceTenancyError `tenancy.invalid_context` when the principal has a character the format refuses.
   */
  forOrg(org: OrgId, principal: Principal): Client;
}

/**
 * Keeps a bounded number of Prisma clients, each bound to one organisation and principal.
 *
 * @throws TypeError when `max` is not a whole number of 1 or more.
 * @example
 * ```ts
 * const clients = prismaClients({
 *   tenancy: createPgTenancy({ pool, contextKey }),
 *   PrismaPg,
 *   create: (adapter) => new PrismaClient({ adapter }),
 * });
 * const prisma = clients.forOrg(parseOrgId(session.org), { actor: `user:${session.user}` });
 * ```
 */
export function prismaClients<Adapter extends PrismaPgAdapter, Client extends object>(
  options: PrismaClientsOptions<Adapter, Client>,
): PrismaClients<Client> {
  const { tenancy, PrismaPg, create, max = 100 } = options;
  if (!(Number.isInteger(max) && max >= 1)) throw new TypeError('prismaClients: max must be 1 or more');
  const clients = new Map<string, Client>();
  return {
    forOrg: (org, principal) => {
      const key = JSON.stringify([org, principal.actor, principal.kind, principal.requestId]);
      let client = clients.get(key);
      if (client === undefined) {
        const pool = tenancy.forOrg(org, principal);
        client = create(pinned(new PrismaPg(pool), pool));
        if (clients.size >= max) clients.delete(clients.keys().next().value as string);
      }
      clients.delete(key);
      clients.set(key, client);
      return client;
    },
  };
}

/** The adapter takes a pool of another copy of `pg` for settings, and would connect with them past the organisation. */
function pinned<Adapter extends PrismaPgAdapter>(adapter: Adapter, pool: Pool): Adapter {
  const connect = adapter.connect.bind(adapter);
  adapter.connect = async () => {
    const connected = await connect();
    if (connected.underlyingDriver() === pool) return connected;
    throw new TypeError(
      '@prisma/adapter-pg uses another copy of pg than the application: install one copy of pg',
    );
  };
  return adapter;
}
