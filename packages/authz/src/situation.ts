/**
 * From regions to a request as plain data (`DecisionInputs`), with names that no constant of the policies uses. A
 * situation replays in the real evaluation; it is what every claim of the analysis is proven by.
 */
import type { Literal } from './condition-node.ts';
import type { DecisionInputs } from './record-inputs.ts';
import { ANY_INSTANT, type Patch } from './regions.ts';

const ORG = '00000000-0000-4000-8000-000000000001';

/** Names for the people and resources of situations. */
export class SituationNames {
  readonly #taken: ReadonlySet<Literal>;

  constructor(constants: readonly Literal[]) {
    this.#taken = new Set(constants);
  }

  /** The text that is none of the constants, by ordinal; the first one is also the principal's and the resource's id. */
  other(ordinal: number): string {
    return this.#free(`other:${ordinal + 1}`);
  }

  /** Merges patches into a request. Facts that no patch gives: an id, a principal, an instant, no session. */
  situation(action: string, roles: readonly string[], patches: readonly Patch[]): DecisionInputs {
    const patch: Patch = Object.assign({}, ...patches);
    const attributes: Record<string, Literal> = Object.assign({}, ...patches.map((each) => each.attributes));
    const { principalId = this.#free('user:1'), resourceId = this.#free('resource:1') } = patch;
    const { now = ANY_INSTANT, mfa, sso, acr, ageMs } = patch;
    const session = mfa || sso || acr !== undefined || ageMs !== undefined;
    const approvals = resourceId === null ? [] : this.#approvals(action, resourceId, patches);
    return {
      action,
      now,
      principal: { id: principalId, org: ORG, roles },
      resource: { org: ORG, ...(resourceId === null ? {} : { id: resourceId }), attributes },
      ...(session
        ? {
            session: {
              mfa: mfa === true,
              ...(acr === undefined ? {} : { acr }),
              ...(ageMs === undefined ? {} : { authenticatedAt: now - ageMs }),
              ...(sso ? { ssoConnection: 'sso:1' } : {}),
            },
          }
        : {}),
      ...(approvals.length === 0 ? {} : { approvals }),
    };
  }

  /** As few people as possible: the k-th approver holds every role that more than k approvals come from. */
  #approvals(
    action: string,
    resourceId: string,
    patches: readonly Patch[],
  ): NonNullable<DecisionInputs['approvals']> {
    const wanted = patches.flatMap(({ approved }) => approved ?? []);
    const most = Math.max(0, ...wanted.map(({ count }) => count));
    return Array.from({ length: most }, (_, k) => ({
      by: this.#free(`approver:${k + 1}`),
      roles: wanted.filter(({ count }) => count > k).map(({ role }) => role),
      org: ORG,
      action,
      resourceId,
    }));
  }

  #free(name: string): string {
    return this.#taken.has(name) ? this.#free(`${name}'`) : name;
  }
}
