/** The customer's witness: a process of its own on loopback, started with the command a customer would use. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { httpWitness, type Witness } from '@ringfence/audit/checkpoint';
import type { OrgId } from '@ringfence/tenancy';
import { auditCommand } from '../audit-cli.ts';
import { AUDIT_ORIGIN } from '../audit-trail.ts';

/** A running witness. */
export interface CustomerWitness {
  /** The way to it. */
  readonly witness: Witness;
  /** Id of its process. */
  readonly pid: number | undefined;
  /** Ends the process. */
  close(): Promise<void>;
}

/** Starts a witness of one organisation's log; it is up when this resolves. */
export async function customerWitness(org: OrgId, logKey: string): Promise<CustomerWitness> {
  const dir = mkdtempSync(join(tmpdir(), 'ringfence-witness-'));
  const child = auditCommand(
    ...['witness', '--name', 'witness.northwind.example', '--directory', dir],
    ...['--log', `${AUDIT_ORIGIN}/${org}=${logKey}`, '--listen', '127.0.0.1:0'],
  );
  const closed = once(child, 'close');
  const errors = text(child.stderr);
  const close = async () => {
    child.kill('SIGTERM');
    await closed;
    rmSync(dir, { recursive: true, force: true });
  };
  let key: string | undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    key ??= /^witness key (.+)$/.exec(line)?.[1];
    const url = /^listening on (http:.+)$/.exec(line)?.[1];
    if (key === undefined || url === undefined) continue;
    return { witness: httpWitness({ url, key }), pid: child.pid, close };
  }
  await close();
  throw new Error(`the witness did not start: ${await errors}`);
}
