/**
 * The suite `tenancy`: statements of one organisation against plain `pg` with an explicit WHERE and no row-level security
 * (the limit) and the peers, at 1 and 32 clients, with and without a millisecond of network, with and without signed
 * context; transactions and batches; the doctor, the probe and the job envelope.
 */
import type { BenchCase, Prepared, Suite } from '../../../tools/bench/suite.ts';
import type { Contender } from './contender.ts';
import { CONTENDERS } from './contenders.ts';
import { type BenchDatabase, benchDatabase } from './database.ts';
import { doctorCase } from './doctor.ts';
import { jobEnvelope } from './jobs.ts';
import { probe500 } from './probe.ts';
import { slowNetwork } from './slow-network.ts';

const LIMIT = 'pg-where';
/** Length of one slice, ms. */
const SLICE_MS = 400;

type Operation = Exclude<keyof Contender, 'close'>;

interface Setting {
  readonly clients: 1 | 32;
  readonly operation: Operation;
  readonly signed?: boolean;
  readonly slow?: boolean;
}

/** Operations per second of `clients` at once. */
async function throughput(clients: number, run: () => Promise<unknown> | undefined): Promise<number> {
  const start = performance.now();
  let count = 0;
  const client = async () => {
    while (performance.now() - start < SLICE_MS) {
      await run();
      count++;
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return (count * 1000) / (performance.now() - start);
}

async function prepare({ clients, operation, signed = false, slow = false }: Setting): Promise<Prepared> {
  const database: BenchDatabase = await benchDatabase(signed);
  const network = slow ? await slowNetwork(database.appUrl) : undefined;
  const url = network?.url ?? database.appUrl;
  const ready: [string, Contender][] = [];
  for (const [name, make] of Object.entries(CONTENDERS)) {
    const contender = await make(url, clients, database);
    if (contender[operation] === undefined) await contender.close();
    else ready.push([name, contender]);
  }
  return {
    subjects: ready.map(([name, contender]) => ({
      name: operation === 'tx' && name === 'kysely-plain' ? 'kysely-tx' : name,
      measure: () =>
        throughput(clients, () => {
          const { org, id } = database.next();
          return contender[operation]?.(org, id);
        }),
    })),
    close: async () => {
      for (const [, contender] of ready) await contender.close();
      network?.close();
      await database.close();
    },
  };
}

function statement(id: string, setting: Setting): BenchCase {
  return { id, unit: 'ops/s', limit: LIMIT, rounds: 5, prepare: () => prepare(setting) };
}

const both = (id: string, operation: Operation, more: Partial<Setting> = {}, suffix = ''): BenchCase[] =>
  ([1, 32] as const).map((clients) =>
    statement(`${id}-${clients}${suffix}`, { clients, operation, ...more }),
  );

/** The suite. */
export const suite: Suite = {
  name: 'tenancy',
  cases: [
    ...both('point', 'point'),
    ...both('list100', 'list'),
    ...both('insert', 'insert'),
    ...both('point', 'point', { slow: true }, '-net1ms'),
    ...both('point', 'point', { signed: true }, '-signed'),
    ...both('tx', 'tx'),
    statement('batch5-1', { clients: 1, operation: 'five' }),
    doctorCase,
    probe500,
    jobEnvelope,
  ],
};
