/** A folder with policies and records of the ledger, for the tests of the command line. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { runCli } from '../src/cli/run-cli.ts';
import { decisionInputs, decisionRecord } from '../src/index.ts';
import { unsafeSessionFacts } from '../src/testing/index.ts';
import { as, entry, NOW, policy, type Role } from './model.ts';

export const ANALYSIS = {
  sensitive: ['entry.approve', 'entry.post'],
  duties: [{ actions: ['entry.post', 'entry.approve'] }],
  approvals: [{ action: 'entry.approve', owner: 'createdBy' }],
};

export interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Makes the folder: policy.json, proposed.json, analysis.json, policy.mjs, records.ndjson. */
export class CliStage {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'authz-cli-'));

  constructor() {
    const document = policy.toJSON();
    const proposed = {
      ...document,
      grants: document.grants.map((grant) =>
        grant.id === 'bookkeeper-posts' ? { ...grant, roles: ['bookkeeper', 'controller'] } : grant,
      ),
      forbids: document.forbids.filter(({ id }) => id !== 'locked'),
    };
    this.write('policy.json', document);
    this.write('proposed.json', proposed);
    this.write('analysis.json', ANALYSIS);
    const module = `export const policy = ${JSON.stringify(document)};\nexport const analysis = ${JSON.stringify(ANALYSIS)};\n`;
    writeFileSync(join(this.folder, 'policy.mjs'), module);
    writeFileSync(join(this.folder, 'records.ndjson'), `${records().join('\n')}\n`);
  }

  write(name: string, value: unknown): void {
    writeFileSync(join(this.folder, name), JSON.stringify(value));
  }

  /** Runs the command line in this process. */
  async run(args: readonly string[], stdin = ''): Promise<Run> {
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const code = await runCli(args, {
      directory: this.folder,
      env: {},
      stdin: Readable.from([Buffer.from(stdin)]),
      stdout,
      stderr,
    });
    const text = (stream: PassThrough): string => String(stream.read() ?? '');
    return { code, stdout: text(stdout), stderr: text(stderr) };
  }

  close(): void {
    rmSync(this.folder, { recursive: true });
  }
}

/** A month of the ledger: controllers approve small entries, bookkeepers read, everybody else does nothing. */
function records(): readonly string[] {
  const mfa = unsafeSessionFacts({ mfa: true });
  const ask = (role: Role, action: 'entry.read' | 'entry.approve' | 'entry.post', id: number): string => {
    const status = action === 'entry.post' ? 'draft' : 'posted';
    const decision = policy.authorize({ ...as(role), session: mfa, now: NOW + id }, action, {
      ...entry,
      id: `entry:${id}`,
      status,
    });
    return JSON.stringify({ record: decisionRecord(decision), inputs: decisionInputs(decision) });
  };
  return Array.from({ length: 120 }, (_, id) => [
    ask('controller', 'entry.approve', id),
    ask('bookkeeper', 'entry.read', id),
    ask('controller', 'entry.read', id),
    ask('bookkeeper', 'entry.post', id),
  ]).flat();
}
