/** Stores in memory, for tests only: each change is one synchronous step, as the ports ask for. */
import type { CredentialRecord, CredentialStore } from '../keys/credential-store.ts';
import type { ApiKeyRecord, ApiKeyStore, KeySelection } from '../keys/key-store.ts';

/** Makes a store of API keys that lives as long as the process. */
export function memoryApiKeyStore(): ApiKeyStore {
  const records = new Map<string, ApiKeyRecord>();
  const isReplayed = ({ org, requestId }: ApiKeyRecord): boolean =>
    [...records.values()].some((known) => known.org === org && known.requestId === requestId);
  return {
    insert: async (record) => {
      if (isReplayed(record)) return 'replayed';
      if (records.has(record.id)) throw new TypeError('the id is taken');
      records.set(record.id, record);
      return 'stored';
    },
    find: async (id) => records.get(id),
    rotate: async ({ org, id, successor, overlapUntil }) => {
      const old = records.get(id);
      if (isReplayed(successor)) return 'replayed';
      if (old === undefined || old.org !== org || old.successor !== undefined) return 'conflict';
      if (old.revokedAt !== undefined || successor.createdAt >= old.expiresAt) return 'conflict';
      records.set(id, { ...old, successor: successor.id, overlapUntil });
      records.set(successor.id, successor);
      return 'stored';
    },
    revoke: async (selection, at) => {
      const selected = [...records.values()].filter((record) => isSelected(record, selection));
      for (const record of selected) {
        if (record.revokedAt === undefined) records.set(record.id, { ...record, revokedAt: at });
      }
      return selected.filter(({ expiresAt }) => at < expiresAt).map(({ id }) => id);
    },
    touch: async (uses) => {
      for (const { org, id, at } of uses) {
        const record = records.get(id);
        if (record === undefined || record.org !== org) continue;
        records.set(id, { ...record, lastUsedAt: Math.max(record.lastUsedAt ?? 0, Math.floor(at)) });
      }
    },
    list: async (org) => [...records.values()].filter((record) => record.org === org),
  };
}

/** Makes a store of credentials that lives as long as the process. */
export function memoryCredentialStore(): CredentialStore {
  const records = new Map<string, CredentialRecord>();
  const find = (org: string, id: string): CredentialRecord | undefined => {
    const record = records.get(id);
    return record?.org === org ? record : undefined;
  };
  return {
    insert: async (record) => {
      records.set(record.id, record);
    },
    find: async (org, id) => find(org, id),
    replace: async ({ org, id, from, sealed, rotatedAt }) => {
      const record = find(org, id);
      if (record === undefined || record.revokedAt !== undefined || record.version !== from) return false;
      records.set(id, { ...record, sealed, rotatedAt, version: from + 1 });
      return true;
    },
    revoke: async (org, id, at) => {
      const record = find(org, id);
      if (record === undefined) return;
      const { sealed: _deleted, ...rest } = record;
      records.set(id, { ...rest, revokedAt: record.revokedAt ?? at });
    },
    list: async (org) => [...records.values()].filter((record) => record.org === org),
  };
}

function isSelected(record: ApiKeyRecord, selection: KeySelection): boolean {
  switch (selection.kind) {
    case 'key':
      return record.org === selection.org && record.id === selection.id;
    case 'creator': {
      const { issuer, subject } = record.creator;
      const { org, creator } = selection;
      return record.org === org && issuer === creator.issuer && subject === creator.subject;
    }
    case 'org':
      return record.org === selection.org;
    case 'everywhere':
      return true;
  }
}
