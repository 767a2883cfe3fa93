/**
 * Finds the plan for a result. Kysely gives all queries built from one builder the same query id, and they may run at the
 * same time; so the plan is told by a token in the names of its hidden outputs.
 * Invariant: a result is opened by the plan of its own query or not at all.
 */
import { refused } from './column-errors.ts';
import { ResultPlan } from './result-plan.ts';

interface PlansOfQuery {
  /** Plans that open something, by token. */
  readonly opening: ResultPlan[];
  /** Tokens by signature, so that the same query has the same SQL each time it is compiled. */
  readonly tokens: Map<string, number>;
  /** All plans that open nothing, in one: their results carry no token. */
  plain: ResultPlan | undefined;
}

const TOKEN = /^rf\$([0-9]+)\$/;

/** Plans by query id, for as long as Kysely holds the id. */
export class PlanStore {
  readonly #plans = new WeakMap<object, PlansOfQuery>();

  /** Keeps a plan and gives it its token, before the names of its hidden outputs are used. */
  keep(queryId: object, plan: ResultPlan): void {
    const known = this.#plans.get(queryId) ?? { opening: [], tokens: new Map(), plain: undefined };
    this.#plans.set(queryId, known);
    if (plan.opened.length === 0) {
      known.plain ??= new ResultPlan();
      known.plain.distrust(plan);
      return;
    }
    const signature = plan.signature();
    plan.token = known.tokens.get(signature) ?? known.opening.length;
    known.tokens.set(signature, plan.token);
    known.opening[plan.token] = plan;
  }

  /** Plan for a result with these outputs. Without any plan it is looked through as unknown. */
  find(queryId: object, outputs: readonly string[]): ResultPlan {
    const known = this.#plans.get(queryId);
    const hidden = outputs.find((name) => TOKEN.test(name)); // others come out of a CTE under `*`
    if (hidden === undefined && known === undefined) return new ResultPlan();
    const plan = hidden === undefined ? known?.plain : known?.opening[Number(TOKEN.exec(hidden)?.[1] ?? -1)];
    if (plan !== undefined) return plan;
    throw refused(
      'the result lacks the hidden columns that open it: no other plugin may rename columns, and a compiled query runs only on the handle that compiled it',
    );
  }
}
