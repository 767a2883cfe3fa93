/**
 * Compares this package with Cedar on one policy and some requests. The inputs that Cedar gets are put together here
 * from the request as it was generated, not from what the engine read of it.
 */
import fc from '../../../tools/fuzz.ts';
import { cedarPolicy, cedarRequest } from '../src/cedar/index.ts';
import { type Approval, type DecisionInputs, type PolicyDocument, policyFromJSON } from '../src/index.ts';
import { unsafeApproval, unsafeSessionFacts } from '../src/testing/index.ts';
import {
  KINDS,
  ORGS,
  PEOPLE,
  policyDocument,
  type Request,
  ROLES,
  type Row,
  request,
  row,
  type Session,
  strongest,
} from './arbitraries.ts';
import type { CedarAnswer, CedarProcess, CedarQuestion } from './cedar-process.ts';

/** Instants at, just before and just after the bounds of the generated windows. */
const INSTANTS = [
  1_800_000_000_000,
  1e12 - 1,
  1e12,
  4e12 - 1,
  4e12,
  4.5e12 - 1,
  4.5e12,
  5e12 - 1,
  5e12,
] as const;
/** Ages at, just below and just above the greatest age of the generated conditions, and a time to come. */
const AGES = [3_600_000, 3_600_001, 0, -1] as const;

export type GivenApproval = NonNullable<DecisionInputs['approvals']>[number];

export interface Asked {
  readonly request: Request;
  readonly target: Row;
  readonly action: 'row.read' | 'row.write';
  readonly approvals: readonly GivenApproval[];
}

export interface Comparison {
  /** Decisions that both made. */
  readonly decisions: number;
  /** Where they differ, in words. */
  readonly differences: readonly string[];
  /** How often each effect came out. */
  readonly effects: Readonly<Record<string, number>>;
}

/** Most approvals count for the request; some are of another action, resource or organisation, or the principal's own. */
const approval: fc.Arbitrary<GivenApproval> = fc.record({
  by: fc.constantFrom(...PEOPLE.filter((id) => id !== ''), 'user:lin', 'user:kim'),
  roles: fc.uniqueArray(fc.constantFrom(...ROLES)),
  org: fc.constantFrom(ORGS[0], ORGS[0], ORGS[1]),
  action: fc.constantFrom('row.read', 'row.write'),
  resourceId: fc.constantFrom('row:1', 'row:1', 'row:2'),
});

const atTheBounds: fc.Arbitrary<Request> = fc
  .tuple(fc.constantFrom(...INSTANTS), fc.constantFrom(...AGES, undefined))
  .chain(([now, age]) =>
    request(now).map((each) => ({
      ...each,
      session: age === undefined ? each.session : { ...each.session, authenticatedAt: now - age },
    })),
  );

const asked: fc.Arbitrary<Asked> = fc.record({
  request: atTheBounds,
  target: row.map((values) => ({ id: 'row:1', ...values })),
  action: fc.constantFrom('row.read', 'row.write'),
  approvals: fc.array(approval, { maxLength: 4 }),
});

/** A policy and requests to it. */
export function cases(size: number): fc.Arbitrary<readonly [PolicyDocument, readonly Asked[]]> {
  return fc.tuple(policyDocument, fc.array(asked, { minLength: size, maxLength: size }));
}

const ALL_APPROVALS = ({ action, target: { org } }: Asked): readonly GivenApproval[] =>
  Array.from({ length: 10 }, (_, k) => ({
    by: `approver:${k}`,
    roles: [...ROLES],
    org,
    action,
    resourceId: 'row:1',
  }));

/**
 * Compares effect and deciding ids. `exported` is what Cedar is given: the export of the same document, or a
 * wrong one when the question is whether a difference would be noticed.
 */
export async function compare(
  cedar: CedarProcess,
  document: PolicyDocument,
  requests: readonly Asked[],
  exported: (document: PolicyDocument) => Pick<CedarQuestion, 'schema' | 'policies'> = (given) =>
    cedarPolicy(policyFromJSON(given)),
): Promise<Comparison> {
  const policy = policyFromJSON(document);
  const { schema, policies } = exported(document);
  const variants = requests.flatMap((each) => {
    const strong = strongest(each.request.now);
    const now = inputsOf(each, each.request.session, each.approvals);
    const stronger = inputsOf(each, strong, each.approvals);
    const most = inputsOf(each, strong, [...each.approvals, ...ALL_APPROVALS(each)]);
    return [now, stronger, most].map((inputs) => cedarRequest(policy, inputs));
  });
  const grants = new Set(document.grants.map(({ id }) => id));
  const full = await cedar.ask({ schema, policies, requests: variants });
  const grantsOnly = Object.fromEntries(Object.entries(policies).filter(([id]) => grants.has(id)));
  const permits = await cedar.ask({ schema, policies: grantsOnly, requests: variants });
  const differences = [...full.findings, ...full.answers.flatMap(({ errors }) => errors)];
  const effects: Record<string, number> = {};
  for (const [k, each] of requests.entries()) {
    const [now, stronger, most] = full.answers.slice(3 * k, 3 * k + 3).map(({ decision }) => decision);
    const effect =
      now === 'allow'
        ? 'allow'
        : stronger === 'allow'
          ? 'step_up'
          : most === 'allow'
            ? 'needs_approval'
            : (now ?? 'nothing');
    effects[effect] = (effects[effect] ?? 0) + 1;
    const { principal, session } = each.request;
    const decision = policy.authorize(
      {
        principal: principal as never,
        session: unsafeSessionFacts(session),
        approvals: each.approvals.map((given): Approval => unsafeApproval(given)),
        now: each.request.now,
      },
      each.action,
      each.target as never,
    );
    const where = `${each.action} ${JSON.stringify(each)}`;
    if (decision.effect !== effect) differences.push(`${decision.effect}, Cedar says ${effect}: ${where}`);
    const ids = deciding(decision, full.answers[3 * k], permits.answers[3 * k]);
    if (ids !== undefined) differences.push(`${ids}: ${where}`);
  }
  return { decisions: full.answers.length, differences, effects };
}

/** What is wrong with the deciding ids; undefined when they are among Cedar's determining policies. */
function deciding(
  {
    effect,
    grant,
    forbid,
  }: { readonly effect: string; readonly grant: string | undefined; readonly forbid: string | undefined },
  full: CedarAnswer | undefined,
  permits: CedarAnswer | undefined,
): string | undefined {
  const all = full?.reason ?? [];
  const granted = permits?.reason ?? [];
  if (effect === 'allow') {
    return grant === granted[0] && all.join() === granted.join() && forbid === undefined
      ? undefined
      : `allowed by ${grant}, Cedar's permits are ${all}`;
  }
  if (forbid !== undefined) {
    return all.includes(forbid) ? undefined : `forbidden by ${forbid}, Cedar's forbids are ${all}`;
  }
  return granted.length > 0
    ? `no forbid named, Cedar's permits ${granted} are overridden by ${all}`
    : undefined;
}

/** The inputs of a decision as they were generated: values outside their declared type are unknown. */
function inputsOf(
  { request: { principal, now }, target, action }: Asked,
  session: Session,
  approvals: readonly GivenApproval[],
): DecisionInputs {
  const { kind, owner, peer, n, flag, org, id } = target;
  const known: readonly (readonly [string, string | number | boolean | null])[] = [
    ['kind', (KINDS as readonly unknown[]).includes(kind) ? kind : null],
    ['owner', owner],
    ['peer', peer],
    ['n', Number.isSafeInteger(n) ? n : null],
    ['flag', flag],
  ];
  const attributes = Object.fromEntries(
    known.flatMap(([name, value]) => (value === null ? [] : [[name, value]])),
  );
  return {
    action,
    now,
    principal: { ...principal, roles: [...new Set(principal.roles)] },
    resource: { org, id, attributes },
    session,
    approvals,
  };
}
