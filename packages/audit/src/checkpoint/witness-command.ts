/**
 * The command `witness`: runs a witness from one directory, which holds its key and its state. The key is made at the first
 * start. Exit code 0 after an interrupt, 2 when the arguments are wrong, 1 when it cannot run.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseVerifierKey } from '../verify/signed-note.ts';
import { localSigner } from './signer.ts';
import { createWitness, type WatchedLog } from './witness.ts';
import { witnessServer } from './witness-http.ts';
import { fileWitnessState } from './witness-state.ts';

/** What the command writes to and is ended by. */
export interface WitnessIo {
  /** Where the key and the address are told. */
  readonly stdout: { write(text: string): unknown };
  /** Where a failure is told. */
  readonly stderr: { write(text: string): unknown };
  /** Ends the witness. */
  readonly signal: AbortSignal;
}

/** Lines of `--help`. */
export const USAGE: string = `  witness --name <name> --directory <path> --log <origin>=<key>
                                   cosign the checkpoints of a log, each only if it continues the last
    --name <name>                  name of the witness's key, a URL without scheme: witness.customer.example
    --directory <path>             its key and its state; made when missing. Back it up, never run two from copies
    --log <origin>=<key>           a log to watch: its origin line and its verifier key; may be given several times
    --listen <host>:<port>         address to listen on, default 127.0.0.1:8440. Put TLS in front of it`;

/** Runs the command. */
export async function run(args: readonly string[], { stdout, stderr, signal }: WitnessIo): Promise<number> {
  const settings = settingsOf(args);
  if (typeof settings === 'string') {
    stderr.write(`cli.usage: ${settings} (--help shows how)\n`);
    return 2;
  }
  const { name, directory, logs, host, port } = settings;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const state = fileWitnessState(join(directory, 'state.json'));
    try {
      const signer = localSigner({ name, privateKey: keyIn(join(directory, 'key.pem')) });
      const witness = createWitness({ signer, logs, state });
      const server = witnessServer(
        witness,
        logs.map(({ origin }) => origin),
      );
      await new Promise<void>((listening, failed) => {
        server.once('error', failed).listen(port, host, listening);
      });
      const { port: bound } = server.address() as AddressInfo;
      stdout.write(`witness key ${witness.key}\nlistening on http://${host}:${bound}\n`);
      await untilAborted(signal);
      await new Promise((closed) => {
        server.close(closed);
        server.closeAllConnections();
      });
      return 0;
    } finally {
      state.close();
    }
  } catch (error) {
    stderr.write(`cli.unexpected: ${error instanceof Error ? error.message : String(error)}\n`);
    return 2;
  }
}

/** The settings, or what is wrong with them. */
function settingsOf(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        name: { type: 'string' },
        directory: { type: 'string' },
        log: { type: 'string', multiple: true },
        listen: { type: 'string', default: '127.0.0.1:8440' },
      },
    });
    const { name, directory, log = [], listen } = values;
    if (name === undefined || directory === undefined || log.length === 0)
      return 'witness needs --name, --directory and --log';
    const logs = log.map(logOf);
    if (!logs.every((one) => one !== undefined))
      return '--log is <origin>=<verifier key>, as the log gives them';
    const [, host = '', digits = ''] = /^(.+):(\d{1,5})$/.exec(listen) ?? [];
    if (host === '') return '--listen is <host>:<port>';
    return { name, directory, logs, host, port: Number(digits) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return message.replace(/\. To specify a positional .*$/s, '');
  }
}

function logOf(argument: string): WatchedLog | undefined {
  const at = argument.indexOf('=');
  if (at < 1) return undefined;
  const key = argument.slice(at + 1);
  parseVerifierKey(key); // before a key and a state are made for a log that cannot be watched
  return { origin: argument.slice(0, at), keys: [key] };
}

/** The key in a file, made when there is none; `wx` so that a key is never overwritten. */
function keyIn(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const { privateKey } = generateKeyPairSync('ed25519');
  writeFileSync(path, privateKey.export({ format: 'pem', type: 'pkcs8' }), { flag: 'wx', mode: 0o600 });
  return readFileSync(path, 'utf8');
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((aborted) => {
    if (signal.aborted) aborted();
    else signal.addEventListener('abort', () => aborted(), { once: true });
  });
}
