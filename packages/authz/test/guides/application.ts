/** What the guide about routes takes for granted: a policy, a session look-up, and entries. */
import type { RequestContext } from '../../src/index.ts';
import type { Role } from '../model.ts';
import { type Entry, personOf, entries as rows } from '../routes-fixture.ts';

export { policy } from '../model.ts';

export const sessions = {
  context: async (authorization: string | undefined): Promise<RequestContext<Role> | undefined> =>
    personOf(authorization),
};

export const entries = { find: async (id: string): Promise<Entry | undefined> => rows.get(id) };

export const people: Readonly<Record<'bookkeeper' | 'eve', RequestContext<Role>>> = {
  bookkeeper: personOf('bookkeeper') as RequestContext<Role>,
  eve: personOf('eve') as RequestContext<Role>, // of another organisation
};
