/** Faults of the bucket's documents, judged by the proof and by the documents that are left. */
import {
  accessEvaluator,
  type IsolationFinding,
  type OrgId,
  orgKey,
  type PolicyDocument,
  proveIsolation,
  type StorageDocuments,
} from '../../src/storage/index.ts';
import { storageMutations } from '../../src/storage/testing/index.ts';

/** A row of a table: what is broken, and what each layer said. */
export interface Row {
  readonly breaks: string;
  readonly name: string;
  readonly caughtBy: readonly (string | undefined)[];
}

/** What judges a document, in the order of the table. */
export const DOCUMENT_LAYERS = ['proof', 'other documents'] as const;

const EVERYTHING: PolicyDocument = {
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }],
};

interface Asked {
  readonly action: string;
  readonly key?: string;
  readonly prefix?: string;
  readonly tag?: string;
  readonly principal?: string;
}

/** What each document answers alone, the others allowing everything. An answer that allows fails. */
export function documentAnswers(
  { bucket, roleArn, bucketPolicy, rolePolicy, sessionPolicy }: StorageDocuments,
  org: OrgId,
  { action, key, prefix, tag, principal = roleArn }: Asked,
): Record<'bucket policy' | 'role policy' | 'session policy', string> {
  const request = {
    action,
    principal,
    resource: `arn:aws:s3:::${bucket}${key === undefined ? '' : `/${key}`}`,
    context: {
      'aws:SecureTransport': 'true',
      ...(prefix === undefined ? {} : { 's3:prefix': prefix }),
      ...(tag === undefined ? {} : { 'aws:PrincipalTag/org_id': tag }),
    },
  };
  const refused = (decide: ReturnType<typeof accessEvaluator>) => {
    const { allowed, because } = decide(request);
    if (allowed) throw new Error(`${action} is allowed`);
    return because;
  };
  return {
    'bucket policy': refused(accessEvaluator({ identity: [EVERYTHING], resource: bucketPolicy })),
    'role policy': refused(accessEvaluator({ identity: [rolePolicy] })),
    'session policy': refused(accessEvaluator({ identity: [EVERYTHING], session: [sessionPolicy(org)] })),
  };
}

const LAYER = {
  bucketPolicy: 'bucket policy',
  rolePolicy: 'role policy',
  sessionPolicy: 'session policy',
  trustPolicy: 'trust policy',
} as const;

/** What a trust policy that lets sessions without an organisation begin leaves to the others. */
function untagged(documents: StorageDocuments, [own, other]: readonly OrgId[]): Record<string, string> {
  if (own === undefined || other === undefined) throw new TypeError('two organisations are needed');
  return documentAnswers(documents, own, { action: 's3:GetObject', key: orgKey(other, 'secret') });
}

/** One mistake for each statement: that it is gone, or says nothing. The rest is in `storage-isolation.test.ts`. */
const STATEMENTS: ReadonlySet<string> = new Set([
  'bucketPolicy: foreign objects are not denied',
  'bucketPolicy: foreign listing is not denied',
  'bucketPolicy: sessions without organisation are not denied',
  'bucketPolicy: undeclared actions are not denied',
  'bucketPolicy: plaintext is not denied',
  'bucketPolicy: the application itself is not denied',
  'rolePolicy: every resource',
  'rolePolicy: any listing',
  'sessionPolicy: every resource',
  'sessionPolicy: any listing',
  'trustPolicy: no condition',
]);

/** Makes each of these mistakes, and gives a row of the table for each. */
export function scoreDocuments(golden: StorageDocuments, orgs: readonly OrgId[]): Row[] {
  const chosen = storageMutations.filter(({ name, document }) => STATEMENTS.has(`${document}: ${name}`));
  if (chosen.length !== STATEMENTS.size) throw new Error('a mistake has been renamed');
  return chosen.map(({ name, document, mutate }) => {
    const mutated = mutate(golden);
    const { findings } = proveIsolation(mutated, { orgs });
    const of = (layer: IsolationFinding['layer']) => findings.filter((finding) => finding.layer === layer);
    const alone = of(LAYER[document]).filter(({ fault }) => fault !== 'refused_own');
    const request = ({ caller, action, target }: IsolationFinding) => `${caller} ${action} ${target}`;
    const together = new Set(of('together').map(request));
    const held = alone.filter((finding) => !together.has(request(finding))).length;
    const faults = [...new Set(findings.map(({ fault }) => fault))];
    const others = alone.length > 0 && held === alone.length;
    return {
      breaks: LAYER[document],
      name,
      caughtBy: [
        findings.length === 0 ? undefined : faults.join(', '),
        document === 'trustPolicy'
          ? Object.values(untagged(mutated, orgs)).join(', ')
          : others
            ? `refuse all ${held}`
            : undefined,
      ],
    };
  });
}
