/**
 * Proves that generated documents isolate organisations: runs the matrix through the evaluator, each document alone and
 * all together. Alone means that every other document is taken away or allows everything, so that a hole in one cannot
 * hide behind another: what passes here still isolates when the other two are misconfigured.
 */
import { type OrgId, parseOrgId } from '../org-id.ts';
import type { StorageDocuments } from './documents.ts';
import { type AccessEvaluator, accessEvaluator } from './evaluate-access.ts';
import {
  ADVERSARIAL_ORGS,
  type MatrixKey,
  matrixActions,
  matrixKeys,
  matrixPrefixes,
  strangeTags,
} from './isolation-matrix.ts';
import { orgPrefix } from './object-key.ts';
import type { PolicyDocument } from './policy-document.ts';
import { proveTrust } from './prove-trust.ts';

/** Which documents a request was judged by. */
export type IsolationLayer =
  | 'together'
  | 'bucket policy'
  | 'role policy'
  | 'session policy'
  | 'trust policy'
  | 'access grant';

/** What is wrong: too much was allowed, or too little. */
export type IsolationFault =
  /** A session reached a key or listing that is not its organisation's. */
  | 'cross_org'
  /** An organisation was refused what it declared, on its own objects. */
  | 'refused_own'
  /** An action that was not declared was allowed. */
  | 'undeclared'
  /** A session whose organisation is missing or strange, or another identity, was allowed something. */
  | 'no_org'
  /** A request without TLS was allowed. */
  | 'plaintext';

/** One finding. */
export interface IsolationFinding {
  /** What is wrong. */
  readonly fault: IsolationFault;
  /** By which documents. */
  readonly layer: IsolationLayer;
  /** Who asked: an organisation, or what is strange about the caller. */
  readonly caller: string;
  /** Action, `copy` for a read and a write in one. */
  readonly action: string;
  /** Key, or prefix of the listing. */
  readonly target: string;
}

/** Result of a proof. */
export interface IsolationReport {
  /** Everything that is wrong; empty when proven. */
  readonly findings: readonly IsolationFinding[];
  /** Different (caller, action, key) triples tried. */
  readonly pairs: number;
  /** Decisions taken: triples times layers. */
  readonly decisions: number;
}

/** Options of `proveIsolation`. */
export interface ProveIsolationOptions {
  /** Organisations to play; at least 2. Default: five whose ids differ in one or two characters. */
  readonly orgs?: readonly OrgId[];
}

const EVERYTHING: PolicyDocument = {
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }],
};

interface Layer {
  readonly name: IsolationLayer;
  /** Separates organisations, rather than only keeping to declared actions below `org/`. */
  readonly isolates: boolean;
  /** Looks at the session's tag. */
  readonly readsTag: boolean;
  readonly needsTls: boolean;
  readonly evaluator: (org: OrgId) => AccessEvaluator;
}

/**
 * Tries every (organisation, action, key) of an adversarial matrix against the documents.
 *
 * @throws RingfenceTenancyError `tenancy.storage_policy_unsupported` when a document holds what the evaluator does not know.
 * @throws TypeError when fewer than two organisations are given.
 * @example
 * ```ts
 * const { findings, pairs } = proveIsolation(storageDocuments(options));
 * if (findings.length > 0) throw new Error(`${findings.length} of ${pairs}`);
 * ```
 */
export function proveIsolation(
  documents: StorageDocuments,
  options: ProveIsolationOptions = {},
): IsolationReport {
  const orgs = (options.orgs ?? ADVERSARIAL_ORGS).map(parseOrgId);
  if (new Set(orgs).size < 2) throw new TypeError('orgs: expected at least two organisations');
  const proof = new Proof(documents, orgs);
  for (const layer of layersOf(documents)) {
    for (const org of orgs) proof.tryOrg(layer, org);
  }
  proof.tryStrangers();
  const trust = proveTrust(documents, orgs);
  return {
    findings: [...proof.findings, ...trust.findings],
    pairs: proof.pairs + trust.pairs,
    decisions: proof.decisions + trust.pairs,
  };
}

function layersOf(documents: StorageDocuments): Layer[] {
  const { bucketPolicy, rolePolicy, sessionPolicy, sessionTags } = documents;
  const fixed = (evaluator: AccessEvaluator) => () => evaluator;
  return [
    {
      name: 'together',
      isolates: true,
      readsTag: sessionTags,
      needsTls: true,
      evaluator: (org) =>
        accessEvaluator({ identity: [rolePolicy], resource: bucketPolicy, session: [sessionPolicy(org)] }),
    },
    {
      name: 'bucket policy',
      isolates: sessionTags,
      readsTag: sessionTags,
      needsTls: true,
      evaluator: fixed(accessEvaluator({ identity: [EVERYTHING], resource: bucketPolicy })),
    },
    {
      name: 'role policy',
      isolates: sessionTags,
      readsTag: sessionTags,
      needsTls: false,
      evaluator: fixed(accessEvaluator({ identity: [rolePolicy] })),
    },
    {
      name: 'session policy',
      isolates: true,
      readsTag: false,
      needsTls: false,
      evaluator: (org) => accessEvaluator({ identity: [EVERYTHING], session: [sessionPolicy(org)] }),
    },
  ];
}

/** Who asks, and over what. */
interface Caller {
  readonly name: string;
  readonly tag?: string;
  readonly tls?: string;
  readonly principal?: string;
}

class Proof {
  readonly findings: IsolationFinding[] = [];
  pairs = 0;
  decisions = 0;
  readonly #documents: StorageDocuments;
  readonly #orgs: readonly OrgId[];
  readonly #actions: ReturnType<typeof matrixActions>;

  constructor(documents: StorageDocuments, orgs: readonly OrgId[]) {
    this.#documents = documents;
    this.#orgs = orgs;
    this.#actions = matrixActions(documents.operations);
  }

  tryOrg(layer: Layer, org: OrgId): void {
    const decide = layer.evaluator(org);
    const own: Caller = this.#documents.sessionTags ? { name: org, tag: org } : { name: org };
    const keys = matrixKeys(org, this.#orgs);
    const prefixes = matrixPrefixes(org, this.#orgs);
    const { object, bucket, declared } = this.#actions;
    for (const { key, ...whose } of keys) {
      for (const action of object) {
        this.#expect(layer, own, decide, action, key, this.#verdict(layer, action, { key, ...whose }));
      }
    }
    for (const { key, ...whose } of prefixes) {
      for (const action of bucket) {
        const verdict = this.#verdict(layer, action, { key: key ?? '', ...whose });
        this.#expectListing(layer, own, decide, action, key, verdict);
      }
    }
    if (declared.has('s3:GetObject') && declared.has('s3:PutObject')) this.#copies(layer, own, decide, keys);
    const reachable = `${orgPrefix(org)}a`;
    if (layer.needsTls) {
      for (const tls of ['false', '']) {
        const caller = { ...own, name: `${org} without TLS`, tls };
        for (const action of object) this.#expect(layer, caller, decide, action, reachable, 'plaintext');
        for (const action of bucket) {
          this.#expectListing(layer, caller, decide, action, orgPrefix(org), 'plaintext');
        }
      }
    }
    if (layer.readsTag) this.#strangeTags(layer, org, decide);
  }

  /**
   * The bucket policy must not grant anything to whoever has no grant of its own, and must hold off the application itself,
   * whatever its own policies say.
   */
  tryStrangers(): void {
    const { appArn, bucketPolicy, roleArn, sessionTags } = this.#documents;
    const ungranted = accessEvaluator({ identity: [], resource: bucketPolicy });
    const granted = accessEvaluator({ identity: [EVERYTHING], resource: bucketPolicy });
    const callers = [`${roleArn}-2`, roleArn, 'anonymous'].map(
      (principal) => [principal, ungranted] as const,
    );
    const app = sessionTags ? [[appArn, granted] as const] : [];
    const layer = { name: 'bucket policy' } as const;
    for (const org of this.#orgs) {
      for (const [principal, decide] of [...callers, ...app]) {
        const caller = { name: `${principal} itself`, principal, tag: org };
        for (const action of this.#actions.object) {
          this.#expect(layer, caller, decide, action, `org/${org}/a`, 'no_org');
        }
        for (const action of this.#actions.bucket) {
          this.#expectListing(layer, caller, decide, action, `org/${org}/`, 'no_org');
        }
      }
    }
  }

  #strangeTags(layer: Layer, org: OrgId, decide: AccessEvaluator): void {
    const others = this.#orgs.filter((id) => id !== org);
    const callers: Caller[] = [
      { name: 'session without the tag' },
      ...strangeTags(org).map((tag) => ({ name: `session tagged ${JSON.stringify(tag)}`, tag })),
    ];
    // The tag of one organisation and the session policy of another have nothing in common.
    if (layer.name === 'together') {
      callers.push(...others.map((tag) => ({ name: `session of ${org} tagged ${tag}`, tag })));
    }
    for (const caller of callers) {
      for (const id of this.#orgs) {
        for (const action of this.#actions.object) {
          this.#expect(layer, caller, decide, action, `org/${id}/a`, 'no_org');
        }
        for (const action of this.#actions.bucket) {
          this.#expectListing(layer, caller, decide, action, `org/${id}/`, 'no_org');
        }
      }
      this.#expectListing(layer, caller, decide, 's3:ListBucket', undefined, 'no_org');
    }
  }

  /** A copy reads its source and writes its target: both must be the caller's. */
  #copies(layer: Layer, caller: Caller, decide: AccessEvaluator, keys: readonly MatrixKey[]): void {
    const [target] = keys;
    if (target === undefined) return;
    for (const other of keys) {
      const verdict = this.#verdict(layer, 's3:GetObject', other);
      for (const [from, to] of [
        [other.key, target.key],
        [target.key, other.key],
      ] as const) {
        const allowed =
          this.#decide(caller, decide, 's3:GetObject', this.#object(from)) &&
          this.#decide(caller, decide, 's3:PutObject', this.#object(to));
        this.#judge(layer, caller, 'copy', `${from} -> ${to}`, allowed, verdict);
      }
    }
  }

  /** What would be wrong if it were allowed (or, for `refused_own`, if it were not); undefined where both are fine. */
  #verdict(layer: Layer, action: string, { key, own, required }: MatrixKey): IsolationFault | undefined {
    if (!this.#actions.declared.has(action)) return own ? 'undeclared' : 'cross_org';
    if (required) return 'refused_own';
    if (layer.isolates ? own : key.startsWith('org/')) return undefined;
    return 'cross_org';
  }

  #object(key: string): string {
    return `arn:aws:s3:::${this.#documents.bucket}/${key}`;
  }

  #expect(
    layer: Pick<Layer, 'name'>,
    caller: Caller,
    decide: AccessEvaluator,
    action: string,
    key: string,
    verdict: IsolationFault | undefined,
  ): void {
    this.#judge(layer, caller, action, key, this.#decide(caller, decide, action, this.#object(key)), verdict);
  }

  /** With and without a delimiter: it changes what a listing shows, never whose. */
  #expectListing(
    layer: Pick<Layer, 'name'>,
    caller: Caller,
    decide: AccessEvaluator,
    action: string,
    prefix: string | undefined,
    verdict: IsolationFault | undefined,
  ): void {
    const named = prefix === undefined ? {} : { 's3:prefix': prefix };
    for (const delimiter of [{}, { 's3:delimiter': '/' }]) {
      const bucket = `arn:aws:s3:::${this.#documents.bucket}`;
      const allowed = this.#decide(caller, decide, action, bucket, { ...named, ...delimiter });
      const target = `?prefix=${prefix ?? '(none)'}${'s3:delimiter' in delimiter ? '&delimiter=/' : ''}`;
      this.#judge(layer, caller, action, target, allowed, verdict);
    }
  }

  #decide(
    caller: Caller,
    decide: AccessEvaluator,
    action: string,
    resource: string,
    keys: Readonly<Record<string, string>> = {},
  ): boolean {
    const { tag, tls = 'true', principal = this.#documents.roleArn } = caller;
    this.decisions += 1;
    return decide({
      action,
      resource,
      principal,
      session: `${principal.replace(/:iam::(.*):role\//, ':sts::$1:assumed-role/')}/session`,
      context: {
        ...keys,
        ...(tag === undefined ? {} : { 'aws:PrincipalTag/org_id': tag }),
        ...(tls === '' ? {} : { 'aws:SecureTransport': tls }),
      },
    }).allowed;
  }

  #judge(
    { name }: Pick<Layer, 'name'>,
    caller: Caller,
    action: string,
    target: string,
    allowed: boolean,
    verdict: IsolationFault | undefined,
  ): void {
    // The other layers repeat the same requests.
    if (name === 'together' || caller.principal !== undefined) this.pairs += 1;
    if (verdict === undefined || allowed === (verdict === 'refused_own')) return;
    this.findings.push({ fault: verdict, layer: name, caller: caller.name, action, target });
  }
}
