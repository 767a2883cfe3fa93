/**
 * Every way to do the work of a case, by name: `case/subject`. A contender does one turn of many operations and says
 * how many. Before that it answers the requests of the model as the limit does, or it is not measured.
 */
import { rowFilter } from '../src/sql/index.ts';
import {
  askRingfence,
  type BenchPolicy,
  type BenchRequest,
  benchPolicy,
  benchRequests,
  type Engine,
  ifElse,
  scaledPolicy,
} from './model.ts';
import { type Peer, peers } from './peers.ts';

/** Does one turn of a contender and returns the number of operations in it. */
export type Turn = () => number;

const CONTENDERS: Readonly<Record<string, () => Promise<Turn>>> = {
  'check/if-else': async () => asking(benchRequests(benchPolicy()), ifElse()),
  'check/ringfence': async () => await agreeing(async () => ours(benchPolicy())),
  'check-10-grants/ringfence': async () => scaled(2, 5),
  'check-10000-grants/ringfence': async () => scaled(100, 100),
  'filter-sql/hand-written': async () => filtering(handWritten),
  'filter-sql/ringfence': async () => filtering(ourFilter()),
  ...Object.fromEntries(
    Object.entries(peers).map(([name, make]) => [`check/${name}`, async () => await agreeing(make)]),
  ),
};

/** One contender, ready. */
export async function contender(name: string): Promise<Turn> {
  const make = CONTENDERS[name];
  if (make === undefined) throw new TypeError(`no contender ${name}`);
  return await make();
}

function ours(policy: BenchPolicy): Engine {
  return (request) => askRingfence(policy, request);
}

function scaled(roles: number, actions: number): Turn {
  const policy = scaledPolicy(roles, actions);
  return asking(benchRequests(policy), ours(policy));
}

/** An engine that gives the limit's answer to every request. Slow ones take fewer requests to a turn. */
async function agreeing(make: Peer): Promise<Turn> {
  const requests = benchRequests(benchPolicy());
  const engine = await make(requests);
  const limit = ifElse();
  const start = performance.now();
  let checked = 0;
  for (const request of requests) {
    if (engine(request) !== limit(request)) throw new Error(`disagrees on ${JSON.stringify(request)}`);
    checked += 1;
    if (checked >= 256 && performance.now() - start > 2_000) break;
  }
  const perMs = checked / (performance.now() - start);
  return asking(perMs > 100 ? requests : requests.slice(0, 64), engine);
}

function asking(requests: readonly BenchRequest[], ask: Engine): Turn {
  return () => {
    let allowed = 0;
    for (const request of requests) if (ask(request)) allowed += 1;
    if (allowed === 0) throw new Error('nothing was allowed: the requests do not fit the policy');
    return requests.length;
  };
}

/** What a developer writes by hand for one action: text and parameters, for roles known beforehand. */
function filtering(written: (request: BenchRequest) => { readonly text: string }): Turn {
  const requests = benchRequests(benchPolicy()).slice(0, 256);
  return () => {
    for (const request of requests) if (written(request).text === '') throw new Error('no filter');
    return requests.length;
  };
}

function ourFilter(): (request: BenchRequest) => { readonly text: string } {
  const policy = benchPolicy();
  const columns = { org: 'org_id', owner: 'owner_id', status: 'status' };
  return ({ context, action }) => rowFilter(policy, context, action as never, columns as never).toSql();
}

function handWritten({ context: { principal }, action }: BenchRequest) {
  const own = action.endsWith('.approve') ? ' and "owner_id" <> $2' : ' and "owner_id" = $2';
  return { text: `("org_id" = $1${own})`, parameters: [principal.org, principal.id] };
}
