/** `lint`: everything found in one policy, as text, JSON, SARIF, and as a picture. */
import { analyze, type Finding, type FindingLevel, matrixHtml, toSarif } from '../analyze/index.ts';
import type { Policy } from '../policy.ts';
import { type Command, parsed } from './command.ts';
import { loadPolicy, store } from './load.ts';
import { situationText } from './situation-text.ts';
import { type Paint, printable, type Style } from './terminal.ts';

const OPTIONS = {
  analysis: { type: 'string' },
  sarif: { type: 'string' },
  matrix: { type: 'string' },
  strict: { type: 'boolean' },
  json: { type: 'boolean' },
} as const;

const STYLES: Readonly<Record<FindingLevel, Style>> = { error: 'red', warning: 'yellow', note: 'cyan' };

/** The command. */
export const lintCommand: Command = {
  usage: `  lint <policy>         what is wrong with a policy, each with a request that shows it
    --analysis <file>   sensitive actions, duties and approvals (else \`analysis\` of the module)
    --sarif <file>      write the findings as SARIF 2.1.0, too
    --matrix <file>     write roles × actions as a page of HTML, too
    --strict            warnings, too, end with exit code 1`,
  run: async (args, { directory, paint }) => {
    const { values, positionals } = parsed(args, OPTIONS, ['a policy']);
    const [path = ''] = positionals;
    const { policy, analysis } = await loadPolicy(directory, path, values.analysis);
    const findings = analyze(policy, analysis);
    if (values.sarif !== undefined) {
      const log = toSarif(findings, { policyFile: path });
      await store(directory, values.sarif, `${JSON.stringify(log, undefined, 2)}\n`);
    }
    if (values.matrix !== undefined) await store(directory, values.matrix, matrixHtml(policy));
    const counts = { error: 0, warning: 0, note: 0 };
    for (const { level } of findings) counts[level] += 1;
    return {
      exit: counts.error > 0 || (values.strict === true && counts.warning > 0) ? 1 : 0,
      document: { policy: policy.hash, counts, findings },
      lines: [
        headline(path, policy, paint),
        '',
        ...findings.flatMap((finding) => linesOf(finding, paint)),
        verdict(counts, paint),
      ],
    };
  },
};

/** What was looked at. */
export function headline(path: string, policy: Policy, paint: Paint): string {
  const { grants, forbids } = policy.toJSON();
  const sizes = [
    counted(policy.roles.length, 'role'),
    counted(policy.actions.length, 'action'),
    counted(grants.length, 'grant'),
    counted(forbids.length, 'forbid'),
  ];
  return `${paint('bold', printable(path))}  ${sizes.join(', ')}  ${paint('dim', policy.hash.slice(0, 12))}`;
}

/** A number and its noun. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function linesOf(
  { id, level, message, rationale, remedy, witness }: Finding,
  paint: Paint,
): readonly string[] {
  return [
    `${paint(STYLES[level], level.padEnd(7))}  ${paint('bold', id)}  ${printable(message)}`,
    ...(witness === undefined ? [] : [`         allowed: ${situationText(witness)}`]),
    `         ${paint('dim', `why: ${rationale}`)}`,
    `         ${paint('dim', `fix: ${remedy}`)}`,
    '',
  ];
}

function verdict(counts: Readonly<Record<FindingLevel, number>>, paint: Paint): string {
  const { error, warning, note } = counts;
  if (error + warning + note === 0) return paint('green', 'nothing found');
  const text = [counted(error, 'error'), counted(warning, 'warning'), counted(note, 'note')].join(', ');
  return paint(error > 0 ? 'red' : warning > 0 ? 'yellow' : 'cyan', text);
}
