/**
 * Starts a Ceph cluster of one monitor, one OSD in memory and one RADOS Gateway on loopback: a real S3 and STS server over
 * HTTP and HTTPS for integration tests. Each call starts a cluster of its own in a temporary directory; `stop` throws it
 * away. Needs Debian's ceph-mon, ceph-osd and radosgw; and faketime, where the gateway's clock is to be moved.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { accessSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { get } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const DAY_MS = 86_400_000;
const INSTALL = 'apt-get install -y --no-install-recommends ceph-mon ceph-osd radosgw';
const BINARIES = ['ceph-mon', 'ceph-osd', 'radosgw', 'radosgw-admin', 'ceph', 'ceph-authtool', 'monmaptool'];

/** A running gateway. */
export interface CephRgw {
  /** Address without TLS. */
  readonly http: string;
  /** Address with TLS; its certificate is signed by `ca`. */
  readonly https: string;
  /** Certificate to trust, PEM. */
  readonly ca: string;
  /** Runs `radosgw-admin` and gives its output. */
  admin(...args: string[]): Promise<string>;
  /** Moves the gateway's clock to so many days from now; needs `movableClock`. Clients sign with the same time. */
  moveClock(days: number): Promise<void>;
  /** Ends all processes and removes their files. */
  stop(): Promise<void>;
}

/** Settings of `startCephRgw`. */
export interface CephRgwOptions {
  /** Runs the gateway under libfaketime. Default false. */
  readonly movableClock?: boolean;
}

/** Starts a cluster. Fails with the command to install what is missing. */
export async function startCephRgw({ movableClock = false }: CephRgwOptions = {}): Promise<CephRgw> {
  for (const binary of BINARIES) requireBinary(binary);
  const dir = await mkdtemp(join(tmpdir(), 'ringfence-ceph-'));
  const children: ChildProcess[] = [];
  const removeNow = () => {
    for (const child of children) child.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  };
  process.once('exit', removeNow);
  const stop = async () => {
    process.off('exit', removeNow);
    // Nothing of this cluster is read again, so nobody needs to say goodbye.
    await Promise.all(children.map((child) => ended(child)));
    await rm(dir, { recursive: true, force: true });
  };
  try {
    return { ...(await start(dir, children, movableClock)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(
  dir: string,
  children: ChildProcess[],
  movableClock: boolean,
): Promise<Omit<CephRgw, 'stop'>> {
  const [monPort, httpPort, httpsPort] = await freePorts();
  const conf = join(dir, 'ceph.conf');
  const keyring = join(dir, 'keyring');
  const clock = join(dir, 'clock');
  writeFileSync(clock, '+0');
  const fsid = randomUUID();
  for (const name of ['mon', 'osd', 'run', 'rgw']) await mkdir(join(dir, name));
  await run('openssl', [
    ...'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost'.split(
      ' ',
    ),
    ...['-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'],
    ...['-keyout', join(dir, 'key.pem'), '-out', join(dir, 'cert.pem')],
  ]);
  writeFileSync(conf, configuration(dir, fsid, monPort, httpPort, httpsPort));

  const ceph = (...args: string[]) => run('ceph', ['-c', conf, '--connect-timeout', '5', ...args]);
  const daemon = (binary: string, ...args: string[]) => {
    const log = openSync(join(dir, `${binary}.out`), 'a');
    const env = binary === 'radosgw' && movableClock ? { ...process.env, ...fakeTime(clock) } : process.env;
    const child = spawn(binary, ['-c', conf, ...args, '-f'], { stdio: ['ignore', log, log], env });
    children.push(child);
    return () => {
      if (child.exitCode === null) return;
      throw new Error(
        `${binary} ended with ${child.exitCode}:\n${readFileSync(join(dir, `${binary}.out`), 'utf8')}`,
      );
    };
  };

  for (const [name, caps] of [
    ['mon.', ['mon', 'allow *']],
    ['client.admin', ['mon', 'allow *', 'osd', 'allow *', 'mgr', 'allow *']],
    ['client.rgw', ['mon', 'allow rw', 'osd', 'allow rwx', 'mgr', 'allow rw']],
    ['osd.0', ['mon', 'allow profile osd', 'osd', 'allow *', 'mgr', 'allow profile osd']],
  ] as const) {
    const pairs = caps.flatMap((cap, index) => (index % 2 === 0 ? ['--cap', cap] : [cap]));
    const create = name === 'mon.' ? ['--create-keyring'] : [];
    await run('ceph-authtool', [...create, keyring, '--gen-key', '-n', name, ...pairs]);
  }
  const monmap = join(dir, 'monmap');
  const address = `[v2:127.0.0.1:${monPort}]`;
  await run('monmaptool', ['--create', '--clobber', '--fsid', fsid, '--addv', 'a', address, monmap]);
  await run('ceph-mon', ['-c', conf, '--mkfs', '-i', 'a', '--monmap', monmap, '--keyring', keyring]);
  await until('the monitor', daemon('ceph-mon', '-i', 'a'), () => ceph('quorum_status'));
  const osd = randomUUID();
  await ceph('osd', 'new', osd, '0');
  await run('ceph-osd', ['-c', conf, '-i', '0', '--mkfs', '--osd-uuid', osd]);
  await ceph('osd', 'crush', 'add', 'osd.0', '1.0', 'root=default', 'host=localhost');
  await until('the OSD', daemon('ceph-osd', '-i', '0'), async () => {
    const { stdout } = await ceph('osd', 'stat');
    if (!stdout.includes('1 up')) throw new Error(stdout);
  });
  const http = `http://127.0.0.1:${httpPort}`;
  await until('the gateway', daemon('radosgw', '-n', 'client.rgw'), () => answers(http));
  return {
    http,
    https: `https://127.0.0.1:${httpsPort}`,
    ca: readFileSync(join(dir, 'cert.pem'), 'utf8'),
    admin: async (...args) => (await run('radosgw-admin', ['-c', conf, '-n', 'client.rgw', ...args])).stdout,
    moveClock: async (days) => {
      if (!movableClock) throw new Error('this gateway has the clock of the machine');
      writeFileSync(clock, `+${days}d`);
      await until(
        'the moved clock',
        () => {},
        async () => {
          const ahead = Date.parse(await answers(http)) - Date.now() - days * DAY_MS;
          if (Math.abs(ahead) > 60_000) throw new Error(`the gateway's clock is ${ahead} ms off`);
        },
      );
    },
  };
}

/** One copy of everything, no timers that wait for other nodes. STS needs a key of 16 bytes. */
function configuration(dir: string, fsid: string, mon: number, http: number, https: number): string {
  return `[global]
fsid = ${fsid}
mon host = v2:127.0.0.1:${mon}/0
ms bind msgr1 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = ${dir}/keyring
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
osd pool default pg num = 4
osd pool default pgp num = 4
mon max pg per osd = 1000
osd crush chooseleaf type = 0
run dir = ${dir}/run
admin socket = ${dir}/run/$name.$pid.asok
log file = ${dir}/$name.log
crash dir = ${dir}/run
[mon]
mon data = ${dir}/mon
mon data avail warn = 1
mon data avail crit = 0
mon osd full ratio = .99
mon pg warn min per osd = 0
paxos propose interval = 0.01
mon tick interval = 1
[osd]
osd data = ${dir}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
osd class load list = *
osd class default list = *
osd memory target = 939524096
osd op num threads per shard = 1
osd op num shards = 2
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:${http} ssl_endpoint=127.0.0.1:${https} ssl_certificate=${dir}/cert.pem ssl_private_key=${dir}/key.pem
rgw data = ${dir}/rgw
rgw s3 auth use sts = true
rgw sts key = abcdefghijklmnop
rgw enable usage log = false
rgw thread pool size = 32
rgw run sync thread = false
`;
}

/** Timers stay those of the machine; the offset is read from the file again after a second. */
function fakeTime(file: string): NodeJS.ProcessEnv {
  const library = readdirSync('/usr/lib')
    .map((folder) => `/usr/lib/${folder}/faketime/libfaketimeMT.so.1`)
    .find((path) => isThere(path));
  if (library === undefined) throw new Error('libfaketime is missing: apt-get install -y faketime');
  return {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_CACHE_DURATION: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  };
}

function isThere(path: string): boolean {
  try {
    accessSync(path);
    return true;
  } catch {
    return false;
  }
}

function requireBinary(binary: string): void {
  for (const folder of (process.env['PATH'] ?? '').split(':')) {
    if (isThere(join(folder, binary))) return;
  }
  throw new Error(`${binary} is missing: ${INSTALL}`);
}

/** Held at once, so that they differ. */
async function freePorts(): Promise<[number, number, number]> {
  const servers = [createServer(), createServer(), createServer()];
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject);
          server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports as [number, number, number];
}

async function until(what: string, alive: () => void, attempt: () => Promise<unknown>): Promise<void> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    alive();
    try {
      await attempt();
      return;
    } catch (cause) {
      if (Date.now() > deadline) throw new Error(`${what} did not come up within 60 s`, { cause });
    }
    await delay(50);
  }
}

/** The server's time, as it tells it. */
function answers(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, (response) => {
      response.resume();
      response.on('end', () => resolve(response.headers.date ?? ''));
    }).on('error', reject);
  });
}

function ended(child: ChildProcess): Promise<unknown> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', resolve);
    child.kill('SIGKILL');
  });
}
