/**
 * `rewrap`: data keys of many organisations under another KEK. An interrupt lets what is in hand finish and says how to go
 * on.
 */
import type { DekRecord } from '../key-store.ts';
import type { RewrapOptions, RewrapReport } from '../operations/rewrap-all.ts';
import type { OrgId } from '../org-id.ts';
import { numberOf, orgOf } from './arguments.ts';
import { shownError } from './cli-error.ts';
import { type Command, type CommandContext, type CommandResult, namedOrAllOrgs } from './command.ts';
import { Progress } from './progress.ts';
import { printable } from './terminal.ts';

/** Runs `rewrap`. */
export const rewrapCommand: Command = async (context) => {
  const { args, operations, terminal } = context;
  const rate = numberOf(args, 'rate', false);
  const concurrency = numberOf(args, 'concurrency', true);
  const resume = args.text['resume-after'];
  const resumeAfter = resume === undefined ? undefined : orgOf('--resume-after', resume);
  const orgs = await namedOrAllOrgs(context);
  if (args.on.has('dry-run')) return dryRun(context, orgs, resumeAfter);
  const { from, to } = args.text;
  const stop = new AbortController();
  const total = orgs.filter((org) => resumeAfter === undefined || org > resumeAfter).length;
  const progress = new Progress(terminal, 'organisations', total);
  const release = terminal.process.onInterrupt(() => {
    terminal.tell('\nstopping after the organisations in hand');
    stop.abort();
  });
  try {
    const options: RewrapOptions = {
      orgs,
      signal: stop.signal,
      onProgress: (seen) => progress.show(seen.orgs, `${seen.versions} versions, ${seen.failed} failed`),
      ...(from !== undefined && { from }),
      ...(to !== undefined && { to: () => to }),
      ...(rate !== undefined && { ratePerSecond: rate }),
      ...(concurrency !== undefined && { concurrency }),
      ...(resumeAfter !== undefined && { resumeAfter }),
    };
    const report = await operations.rewrapAll(options);
    progress.end();
    return resultOf(context, report);
  } finally {
    release();
  }
};

function resultOf({ args, terminal }: CommandContext, report: RewrapReport): CommandResult {
  const { failures, ...counts } = report;
  const failed = failures.map(({ org, error }) => ({ org, ...shownError(error) }));
  const lines = [
    `${report.rewrapped} organisations re-wrapped (${report.versions} versions), ${report.skipped} needed nothing, ` +
      `${report.failed} failed; ${report.kmsCalls} KMS calls`,
    ...failed.map(({ org, code, message }) =>
      terminal.paint('red', `  ${org}: ${code}: ${printable(message)}`),
    ),
  ];
  if (report.aborted) {
    const after = report.resumeAfter === undefined ? '' : ` --resume-after ${report.resumeAfter}`;
    const named = args.orgs.length > 0 ? ` ${args.orgs.join(' ')}` : '';
    const options = ['config', 'from', 'to', 'rate', 'concurrency'].flatMap((name) => {
      const value = args.text[name];
      return value === undefined ? [] : [` --${name} ${shellWord(value)}`];
    });
    lines.push(`interrupted; go on with: npx @ringfence/crypto rewrap${named}${options.join('')}${after}`);
  }
  const exit = report.aborted || report.failed > 0 ? 1 : 0;
  return { exit, document: { command: 'rewrap', dryRun: false, ...counts, failures: failed }, lines };
}

async function dryRun(
  { args, config }: CommandContext,
  orgs: readonly OrgId[],
  resumeAfter: OrgId | undefined,
): Promise<CommandResult> {
  const { from } = args.text;
  const keks = new Map<string, number>();
  const unclear: OrgId[] = [];
  let touched = 0;
  let versions = 0;
  let seen = 0;
  for (const org of orgs) {
    if (resumeAfter !== undefined && org <= resumeAfter) continue;
    seen += 1;
    const to = args.text['to'] ?? config.kekFor(org);
    const due = (await config.store.load(org)).filter((record) => isDue(record, from, to));
    if (from === undefined && due.some(({ wraps }) => wraps.length > 1)) {
      unclear.push(org);
      continue;
    }
    versions += due.length;
    if (due.length > 0) touched += 1;
    if (due.length > 0) keks.set(to, (keks.get(to) ?? 0) + due.length);
  }
  const kmsCalls = 2 * versions + keks.size;
  const into = [...keks].map(([kekUri, count]) => ({ kekUri, versions: count }));
  return {
    exit: unclear.length > 0 ? 1 : 0,
    document: {
      command: 'rewrap',
      dryRun: true,
      orgs: seen,
      rewrapped: touched,
      versions,
      kmsCalls,
      into,
      unclear,
    },
    lines: [
      `${touched} of ${seen} organisations would be re-wrapped: ${versions} versions, about ${kmsCalls} KMS calls`,
      ...into.map(({ kekUri, versions: count }) => `  ${count} versions under ${printable(kekUri)}`),
      ...unclear.map((org) => `  ${org}: several wraps; name the one to replace with --from`),
      'dry run: nothing was changed',
    ],
  };
}

function isDue({ state, wraps }: DekRecord, from: string | undefined, to: string): boolean {
  if (state === 'shredded') return false;
  if (from === undefined) return !wraps.some(({ kekUri }) => kekUri === to);
  return from !== to && wraps.some(({ kekUri }) => kekUri === from);
}

function shellWord(value: string): string {
  return /^[\w@%+=:,./-]+$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`;
}
