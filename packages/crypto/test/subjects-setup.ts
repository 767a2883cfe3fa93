/** What the tests of subject keys share: a keyring with two organisations, subject keys over it, and a store to meddle with. */
import type { KeyringOptions, OrgId } from '../src/index.ts';
import { createKeyOperations, type KeyOperations } from '../src/operations/index.ts';
import {
  createSubjectKeys,
  type SubjectEntry,
  type SubjectKeyRecord,
  type SubjectKeyring,
  type SubjectKeyStore,
  type SubjectKeysOptions,
} from '../src/subjects/index.ts';
import { memorySubjectKeyStore } from '../src/testing/index.ts';
import { type World, world } from './keyring-setup.ts';

export const TEXT = 'DE02120300000000202051';
export const CELL = { table: 'payslip', column: 'iban', row: 'row-1' } as const;

export interface SubjectWorld extends World {
  readonly subjectStore: SubjectKeyStore;
  readonly subjects: SubjectKeyring;
  readonly operations: KeyOperations;
}

export async function subjectWorld(
  options: Partial<SubjectKeysOptions> = {},
  keyring: Partial<KeyringOptions> = {},
): Promise<SubjectWorld> {
  const base = await world(keyring);
  const subjectStore = options.store ?? memorySubjectKeyStore(base.store);
  const subjects = createSubjectKeys({ now: base.clock.now, ...options, store: subjectStore });
  const operations = createKeyOperations({ ...base.options, maxLeaseAgeMs: 300_000 });
  return { ...base, subjectStore, subjects, operations };
}

/** A store that answers loads as the test wants, and is otherwise the one given. */
export function answering(
  store: SubjectKeyStore,
  answer: (entry: SubjectEntry | undefined, org: OrgId, subject: string) => SubjectEntry | undefined,
): SubjectKeyStore {
  return {
    load: async (org, subject) => answer(await store.load(org, subject), org, subject),
    loadByKeyId: async (org, keyId) => {
      const entry = await store.loadByKeyId(org, keyId);
      return answer(entry, org, entry?.subject ?? '');
    },
    insert: (record) => store.insert(record),
    replaceWraps: (org, wraps) => store.replaceWraps(org, wraps),
    erase: (org, subject, at) => store.erase(org, subject, at),
    listOthers: (...args) => store.listOthers(...args),
    count: (org, keyId) => store.count(org, keyId),
  };
}

/** The stored record of a living key. */
export async function recordOf(
  store: SubjectKeyStore,
  org: OrgId,
  subject: string,
): Promise<SubjectKeyRecord> {
  const entry = await store.load(org, subject);
  if (entry === undefined || 'erasedAt' in entry) throw new Error('no living subject key');
  return entry;
}
