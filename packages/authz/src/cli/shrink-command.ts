/**
 * `shrink`: the smallest policy that a log of decisions asks for. Nothing is written unless the proof holds, and never
 * over the policy itself: the result is a proposal to be reviewed with `diff`.
 */
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { conditionText } from '../analyze/condition-text.ts';
import { type RecordedDecision, type Shrinkage, type Shrunk, shrink } from '../analyze/index.ts';
import { CliError, type Command, messageOf, parsed } from './command.ts';
import { counted, headline } from './lint-command.ts';
import { loadPolicy, store } from './load.ts';
import { type Paint, printable } from './terminal.ts';

const OPTIONS = {
  out: { type: 'string' },
  'narrow-from': { type: 'string' },
  json: { type: 'boolean' },
} as const;

/** The command. */
export const shrinkCommand: Command = {
  usage: `  shrink <policy> <records.ndjson | ->
                        the smallest policy that allows what was allowed, with its proof; a line is a decision
                        record, or {"record", "inputs"}
    --out <file>        write the smaller policy as JSON
    --narrow-from <n>   allows with inputs from which roles and conditions are narrowed (100)`,
  run: async (args, { directory, paint, stdin }) => {
    const { values, positionals } = parsed(args, OPTIONS, ['a policy', 'records']);
    const [path = '', records = ''] = positionals;
    const narrowFrom = countOf(values['narrow-from'] ?? '100');
    const { policy } = await loadPolicy(directory, path);
    const input = (): Promise<Readable> => opened(directory, records, stdin);
    const result = await shrink(policy, recordsOf(input, records), { narrowFrom });
    const { changes, counts, policy: smaller, proof } = result;
    if (values.out !== undefined && proof.holds) {
      if (resolve(directory, values.out) === resolve(directory, path)) {
        throw new CliError('cli.usage', '--out is the policy itself');
      }
      await store(directory, values.out, `${JSON.stringify(smaller, undefined, 2)}\n`);
    }
    return {
      exit: proof.holds && changes.length === 0 ? 0 : 1,
      document: { before: policy.hash, after: smaller.hash, counts, changes, proof, policy: smaller },
      lines: [
        headline(path, policy, paint),
        `${counted(counts.total, 'record')}: ${counts.allows} allowed, ${counts.refusals} refused, ${counts.otherPolicy} of other policies`,
        '',
        ...changes.map((change) => lineOf(change, paint)),
        ...(changes.length === 0 ? ['nothing can be taken away'] : ['']),
        ...proofLines(result, paint),
      ],
    };
  },
};

async function opened(directory: string, name: string, stdin: AsyncIterable<Uint8Array>): Promise<Readable> {
  // Opened here: a stream that cannot open its file says so where nobody may be listening yet.
  return name === '-' ? Readable.from(stdin) : (await open(resolve(directory, name))).createReadStream();
}

async function* recordsOf(source: () => Promise<Readable>, name: string): AsyncGenerator<RecordedDecision> {
  let number = 0;
  try {
    for await (const line of createInterface({
      input: await source(),
      crlfDelay: Number.POSITIVE_INFINITY,
    })) {
      number += 1;
      const value: unknown = JSON.parse(line);
      const wrapped = typeof value === 'object' && value !== null && 'record' in value;
      yield (wrapped ? value : { record: value }) as RecordedDecision;
    }
  } catch (error) {
    const at = error instanceof SyntaxError ? ` line ${number}` : '';
    throw new CliError('cli.file', `${name}${at}: ${messageOf(error)}`);
  }
}

function countOf(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new CliError('cli.usage', '--narrow-from is a number from 1 on');
  return Number(text);
}

function lineOf({ action, allows, grant, removedRoles, when }: Shrinkage, paint: Paint): string {
  const name = `${paint('bold', action)}  ${grant}`;
  if (allows === 0) return `${paint('green', '- unused   ')} ${name}  ${removedRoles.join(', ')}`;
  const { approvals, sentence, stepUp } = conditionText(when);
  const condition = [sentence, ...stepUp, ...approvals].filter((part) => part !== '').join(' and ');
  const parts = [
    ...(removedRoles.length === 0 ? [] : [`without ${removedRoles.join(', ')}`]),
    ...(when === undefined ? [] : [`only where ${condition}`]),
  ];
  return `${paint('green', '~ narrower ')} ${name}  ${printable(parts.join('; '))}  ${paint('dim', counted(allows, 'allow'))}`;
}

function proofLines({ policy, proof }: Shrunk, paint: Paint): readonly string[] {
  const { holds, implication, kept, lost, replayed, unproven } = proof;
  const verdict = holds ? paint('green', 'proven') : paint('red', 'NOT PROVEN, nothing was written');
  const implied = implication.implied ? 'nothing new is allowed' : 'something new is allowed';
  return [
    `${verdict}: ${counted(replayed, 'allow')} replayed, ${kept} under an unchanged grant, ${lost.length + unproven} lost; ${implied}`,
    `${paint('dim', `policy ${policy.hash}`)}`,
  ];
}
