/** `diff`: what changes for whom between two policies, whatever their texts look like. */
import { type Change, diff, toSarif } from '../analyze/index.ts';
import { type Command, parsed } from './command.ts';
import { counted, headline } from './lint-command.ts';
import { loadPolicy, store } from './load.ts';
import { situationText } from './situation-text.ts';
import type { Paint } from './terminal.ts';

const OPTIONS = { sarif: { type: 'string' }, json: { type: 'boolean' } } as const;
const RANK = { allow: 0, step_up: 1, needs_approval: 2, deny: 3 } as const;

/** The command. */
export const diffCommand: Command = {
  usage: `  diff <before> <after> whose requests are decided otherwise, each with one of them
    --sarif <file>      write the changes as SARIF 2.1.0, too; what is opened is an error`,
  run: async (args, { directory, paint }) => {
    const { values, positionals } = parsed(args, OPTIONS, ['the policy before', 'the policy after']);
    const [from = '', to = ''] = positionals;
    const { policy: before } = await loadPolicy(directory, from);
    const { policy: after } = await loadPolicy(directory, to);
    const changes = diff(before, after);
    const opened = changes.filter(isOpened);
    const closed = changes.filter((change) => !isOpened(change));
    if (values.sarif !== undefined) {
      const log = toSarif(changes, { policyFile: to });
      await store(directory, values.sarif, `${JSON.stringify(log, undefined, 2)}\n`);
    }
    const total =
      changes.length === 0
        ? paint('green', 'the two policies decide alike')
        : `${counted(opened.length, 'change')} opened, ${counted(closed.length, 'change')} closed`;
    return {
      exit: changes.length === 0 ? 0 : 1,
      document: { before: before.hash, after: after.hash, changes },
      lines: [
        headline(from, before, paint),
        headline(to, after, paint),
        '',
        ...opened.flatMap((change) => linesOf('+', change, paint)),
        ...closed.flatMap((change) => linesOf('-', change, paint)),
        total,
      ],
    };
  },
};

/** True when the outcome after is nearer to an allow. */
function isOpened({ before, after }: Change): boolean {
  return RANK[after] < RANK[before];
}

function linesOf(sign: '+' | '-', change: Change, paint: Paint): readonly string[] {
  const { action, after, before, roles, witness } = change;
  const who = roles.map((set) => set.join(' with ')).join(', ');
  return [
    `${paint(sign === '+' ? 'red' : 'green', `${sign} ${before} → ${after}`)}  ${paint('bold', action)}  ${who}`,
    `    e.g. ${situationText(witness)}`,
    '',
  ];
}
