/** API keys over the in-memory store, with people whose sessions a real verifier mints, and clocks set by hand. */
import { createSecretKey, randomBytes } from 'node:crypto';
import {
  definePolicy,
  equals,
  lessThan,
  mfa,
  type Policy,
  policyFromJSON,
  principal,
  resource,
} from '../src/index.ts';
import {
  type ApiKeyStore,
  type ApiKeys,
  type ApiKeysOptions,
  createApiKeys,
  type KeyScope,
} from '../src/keys/index.ts';
import {
  createTokenVerifier,
  type Identity,
  type OrgAssurance,
  Revocations,
  type SessionDirectory,
  type VerifiedSession,
} from '../src/session/index.ts';
import { memoryApiKeyStore } from '../src/testing/index.ts';
import { ORG_A, TestClock, type TestIssuer } from './session-fixture.ts';

export const keyResources = {
  entry: {
    actions: ['read', 'post', 'approve'],
    attributes: { createdBy: 'string', amountCents: 'integer', locked: 'boolean' },
  },
  apiKey: { actions: ['create'] },
} as const;
export const keyRoles = ['owner', 'clerk', 'feed', 'trainee', 'vault'] as const;
export type KeyRole = (typeof keyRoles)[number];
export type KeyPolicy = Policy<typeof keyResources, KeyRole>;

const grants = [
  { id: 'owner-all', roles: ['owner'], actions: ['entry.read', 'entry.post', 'entry.approve'] },
  { id: 'owner-keys', roles: ['owner', 'vault'], actions: ['apiKey.create'] },
  { id: 'clerk-reads', roles: ['clerk'], actions: ['entry.read'] },
  {
    id: 'clerk-posts-small',
    roles: ['clerk'],
    actions: ['entry.post'],
    when: lessThan(resource('amountCents'), 100_000),
  },
  {
    id: 'feed-posts-tiny',
    roles: ['feed'],
    actions: ['entry.post'],
    when: lessThan(resource('amountCents'), 1_000),
  },
  { id: 'feed-reads', roles: ['feed'], actions: ['entry.read'] },
] as const;

const forbids = [
  {
    id: 'no-self-approval',
    actions: ['entry.approve'],
    when: equals(resource('createdBy'), principal('id')),
    reason: 'nobody approves an entry of their own',
  },
  {
    id: 'trainee-not-locked',
    actions: ['entry.post'],
    roles: ['trainee'],
    when: equals(resource('locked'), true),
    reason: 'trainees leave closed periods alone',
  },
] as const;

export const keyPolicy: KeyPolicy = definePolicy({
  resources: keyResources,
  roles: keyRoles,
  grants,
  forbids,
});

/** The policy after a change: the role of the feed has gained approvals and everything else. */
export const widerPolicy: KeyPolicy = policyFromJSON({
  ...keyPolicy.toJSON(),
  grants: [
    ...keyPolicy.toJSON().grants,
    { id: 'feed-gains', roles: ['feed'], actions: ['entry.post', 'entry.read', 'entry.approve'] },
  ],
}) as unknown as KeyPolicy;

/** The policy after a change: approvals need a second factor. */
export const stricterPolicy: KeyPolicy = definePolicy({
  resources: keyResources,
  roles: keyRoles,
  grants: [
    { id: 'owner-reads', roles: ['owner'], actions: ['entry.read'], when: mfa() },
    { id: 'feed-reads', roles: ['feed'], actions: ['entry.read'] },
  ],
});

export const FEED: KeyScope = { roles: ['feed'], actions: ['entry.post', 'entry.read'] };
export const DAY = 86_400_000;

export class KeyWorld {
  readonly clock: TestClock = new TestClock();
  readonly revocations: Revocations = new Revocations(this.clock);
  readonly issuer: TestIssuer;
  /** Roles by subject of the issuer. */
  readonly members = new Map<string, readonly KeyRole[]>([
    ['olga', ['owner']],
    ['carl', ['clerk']],
    ['tina', ['clerk', 'trainee']],
  ]);
  readonly settings = new Map<string, OrgAssurance>([[ORG_A, { plan: 'pro', ssoProven: false }]]);
  /** Calls of the store, by name. */
  readonly calls: string[] = [];
  policy: KeyPolicy = keyPolicy;
  store: ApiKeyStore = this.counted(memoryApiKeyStore());
  readonly peppers = { current: 'p1', keys: { p1: createSecretKey(randomBytes(32)) } };
  #requests = 0;

  constructor(issuer: TestIssuer) {
    this.issuer = issuer;
  }

  get directory(): SessionDirectory<KeyRole> {
    return {
      assurance: async (org) => this.settings.get(org),
      connectionOrg: async () => ORG_A,
      member: async (_org, { issuer, subject }: Identity) => {
        const roles = issuer === this.issuer.url ? this.members.get(subject) : undefined;
        return roles === undefined ? undefined : { id: `user:${subject}`, roles };
      },
    };
  }

  keys(part: Partial<ApiKeysOptions<typeof keyResources, KeyRole>> = {}): ApiKeys<typeof keyResources> {
    return createApiKeys({
      prefix: 'ldg',
      type: 'live',
      peppers: this.peppers,
      store: this.store,
      policy: () => this.policy,
      directory: this.directory,
      revocations: this.revocations,
      ...this.clock,
      ...part,
    });
  }

  /** The session of a person who signed in with these claims. */
  async session(subject: string, claims: object = {}): Promise<VerifiedSession> {
    const verifier = createTokenVerifier({
      issuers: [{ ...this.issuer.config, connection: { claim: 'connection' } }],
      ...this.clock,
    });
    const seconds = Math.floor(this.clock.wall / 1_000);
    const token = this.issuer.access({ sub: subject, iat: seconds, exp: seconds + 300, ...claims });
    return await verifier.verifyAccessToken(await this.issuer.sign(token));
  }

  /** A creation by a person, with what most tests want. */
  async creation(subject = 'olga', part: Partial<Parameters<ApiKeys['create']>[0]> = {}) {
    this.#requests += 1;
    const requestId = `request-${this.#requests}`;
    return {
      session: await this.session(subject),
      org: ORG_A,
      name: 'bank feed',
      scope: FEED,
      lifetimeMs: DAY,
      requestId,
      ...part,
    };
  }

  counted(store: ApiKeyStore): ApiKeyStore {
    const { calls } = this;
    return new Proxy(store, {
      get: (target, name: keyof ApiKeyStore) => {
        calls.push(name);
        return target[name];
      },
    });
  }
}
