import { randomBytes } from 'node:crypto';
import { finished } from 'node:stream/promises';
import { KMSClient } from '@aws-sdk/client-kms';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { awsKms } from '../src/aws-kms/index.ts';
import { decryptBytes, encryptBytes, encryptTransform, openFile } from '../src/files/index.ts';
import { createKeyring, type KeyUse, type KeyUseCount, type KeyUsePort } from '../src/index.ts';
import { type KeyUseFailure, type KeyUseLedgerOptions, keyUseLedger } from '../src/key-use/index.ts';
import { MAX_TALLIES } from '../src/key-use/lease-use.ts';
import { createSubjectKeys } from '../src/subjects/index.ts';
import { memoryKeyStore, memorySubjectKeyStore } from '../src/testing/index.ts';
import { CELL, codeOf, codeOfAsync, FakeClock, ORG_A, ORG_B, world } from './keyring-setup.ts';
import { AwsKmsServer } from './servers/aws-kms-server.ts';

/** A keyring with a ledger whose reports the test reads. */
async function counted(options: Partial<KeyUseLedgerOptions> = {}) {
  const reports: KeyUse[] = [];
  const clock = new FakeClock();
  const port: KeyUsePort = { record: (use) => void reports.push(use) };
  const keyUse = keyUseLedger({ port, now: clock.now, ...options });
  const base = await world({ keyUse, now: clock.now, monotonicNow: clock.monotonicNow });
  await keyUse.flush();
  reports.length = 0;
  return { ...base, clock, keyUse, reports };
}

const none = { sealed: 0, opened: 0, failed: 0, lent: 0, sealedBytes: 0, openedBytes: 0 };
const field = (table: string, counts: Partial<KeyUseCount>): KeyUseCount => ({
  ...none,
  key: 'field',
  purpose: 'field',
  table,
  ...counts,
});

afterEach(() => {
  vi.useRealTimers();
});

describe('the key-use ledger', () => {
  it('reports counts per table and purpose when a lease ends, not an event per message', async () => {
    const { keyring, clock, keyUse, reports } = await counted();
    const keys = await keyring.org(ORG_A);
    const from = clock.wall;
    const sealed = keys.sealText(CELL, 'äb');
    for (let i = 0; i < 1000; i += 1) keys.openText(CELL, sealed);
    keys.seal({ ...CELL, table: 'contract', purpose: 'export' }, new Uint8Array(40));
    keys.openRow({ table: 'contract', row: '1' }, keys.sealRow({ table: 'contract', row: '1' }, { a: 'x' }));
    codeOf(() => keys.openText({ ...CELL, row: 'row-2' }, sealed));
    clock.advance(5000);
    expect(reports).toEqual([]);
    keyring.revoke(ORG_A);
    await keyUse.flush();
    expect(reports).toHaveLength(1);
    const [report] = reports;
    expect(report).toMatchObject({
      v: 1,
      org: ORG_A,
      sequence: 1,
      keyIds: [keys.activeKeyId],
      from,
      to: from + 5000,
    });
    expect(report?.leaseId).toMatch(/^[0-9a-f-]{36}$/);
    expect(report?.counts).toEqual([
      field('invoice', { sealed: 1, sealedBytes: 3, opened: 1000, openedBytes: 3000, failed: 1 }),
      field('contract', { purpose: 'export', sealed: 1, sealedBytes: 40 }),
      field('contract', { sealed: 1, sealedBytes: 10, opened: 1, openedBytes: 10 }),
    ]);
    expect(report?.kms).toHaveLength(1);
  });

  it('reports at least every flushEveryMs, each use once', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { keyring, reports } = await counted({ flushEveryMs: 1000 });
    const keys = await keyring.org(ORG_A);
    keys.sealText(CELL, 'a');
    await vi.advanceTimersByTimeAsync(1000);
    keys.sealText(CELL, 'bc');
    keys.sealText(CELL, 'de');
    await vi.advanceTimersByTimeAsync(1000);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(
      reports.map(({ sequence, counts }) => [sequence, counts[0]?.sealed, counts[0]?.sealedBytes]),
    ).toEqual([
      [1, 1, 1],
      [2, 2, 4],
    ]);
    expect(new Set(reports.map(({ leaseId }) => leaseId)).size).toBe(1);
  });

  it('keeps organisations and leases apart', async () => {
    const { keyring, keyUse, reports } = await counted();
    (await keyring.org(ORG_A)).sealText(CELL, 'a');
    (await keyring.org(ORG_B)).sealText(CELL, 'b');
    keyring.revoke(ORG_A);
    (await keyring.org(ORG_A)).sealText(CELL, 'a');
    await keyring.close();
    expect(keyUse.stats()).toMatchObject({ leases: 0, pending: 0 });
    expect(reports.map(({ org }) => org).sort()).toEqual([ORG_A, ORG_A, ORG_B]);
    expect(new Set(reports.map(({ leaseId }) => leaseId)).size).toBe(3);
    for (const { counts } of reports)
      expect(counts).toEqual([field('invoice', { sealed: 1, sealedBytes: 1 })]);
  });

  it('counts files with their bytes, streams when they end, and keys lent for blind indexes', async () => {
    const { keyring, keyUse, reports } = await counted();
    const keys = await keyring.org(ORG_A);
    const cell = { table: 'plan', column: 'drawing', row: '1' };
    const sealed = encryptBytes(keys, cell, new Uint8Array(20_000));
    decryptBytes(keys, cell, sealed);
    const file = await openFile(keys, cell, {
      size: sealed.length,
      read: async (offset, length) => sealed.slice(offset, offset + length),
    });
    await file.read(16_000, 1000);
    const spoilt = sealed.slice().fill(0, 100, 110);
    codeOf(() => decryptBytes(keys, cell, spoilt));
    keys.withPurposeKey('index', 'active', () => 1);
    const stream = encryptTransform(keys, cell);
    stream.write(new Uint8Array(5000));
    await keyUse.flush();
    expect(reports[0]?.counts).toEqual([
      {
        ...none,
        key: 'file',
        purpose: 'file',
        table: 'plan',
        lent: 6,
        sealed: 1,
        sealedBytes: 20_000,
        opened: 2,
        openedBytes: 21_000,
        failed: 1,
      },
      { ...none, key: 'index', purpose: 'index', table: '', lent: 1 },
    ]);
    keyring.revoke(ORG_A);
    stream.end(new Uint8Array(7));
    await finished(stream.resume());
    await keyUse.flush();
    expect(reports.at(-1)).toMatchObject({
      sequence: 2,
      counts: [{ sealed: 1, sealedBytes: 5007, lent: 0 }],
    });
  });

  it('counts subject keys and their wraps apart from the keys of the organisation', async () => {
    const { keyring, store, keyUse, reports } = await counted();
    const subjects = createSubjectKeys({ store: memorySubjectKeyStore(store) });
    const anna = await subjects.of(await keyring.org(ORG_A), 'employee-1');
    anna.openText(CELL, anna.sealText(CELL, 'abc'));
    encryptBytes(anna.files, CELL, new Uint8Array(9));
    await keyUse.flush();
    expect(reports[0]?.counts).toEqual([
      {
        ...none,
        key: 'subject-wrap',
        purpose: 'subject-key',
        table: '',
        sealed: 1,
        sealedBytes: 32,
        opened: 1,
        openedBytes: 32,
      },
      {
        ...none,
        key: 'subject',
        purpose: 'field',
        table: 'invoice',
        sealed: 1,
        sealedBytes: 3,
        opened: 1,
        openedBytes: 3,
      },
      { ...none, key: 'subject', purpose: 'file', table: 'invoice', sealed: 1, sealedBytes: 9, lent: 1 },
    ]);
    expect(JSON.stringify(reports)).not.toContain('employee-1');
  });

  it('gathers table names beyond a bound, so that names made of input cannot grow it', async () => {
    const { keyring, keyUse, reports } = await counted();
    const keys = await keyring.org(ORG_A);
    for (let i = 0; i < 2000; i += 1) keys.sealText({ ...CELL, table: `t${i}` }, 'a');
    await keyUse.flush();
    const counts = reports[0]?.counts ?? [];
    expect(counts).toHaveLength(MAX_TALLIES + 1);
    expect(counts.at(-1)).toMatchObject({ table: '*', purpose: '*', sealed: 2000 - MAX_TALLIES });
  });
});

describe('a port that fails', () => {
  it('never reaches seal and open; it is counted, told, and offered every report again in order', async () => {
    let broken = true;
    const taken: KeyUse[] = [];
    const failures: KeyUseFailure[] = [];
    const port: KeyUsePort = {
      record(use) {
        if (broken) throw new Error('audit database is down');
        taken.push(use);
      },
    };
    const keyUse = keyUseLedger({ port, onError: (failure) => failures.push(failure) });
    const { keyring } = await world({ keyUse });
    const keys = await keyring.org(ORG_A);
    const sealed = keys.sealText(CELL, 'a');
    await keyUse.flush();
    keyring.revoke(ORG_A);
    const again = await keyring.org(ORG_A);
    expect(again.openText(CELL, sealed)).toBe('a');
    await keyUse.flush();
    expect(taken).toEqual([]);
    expect(failures[0]).toMatchObject({ dropped: false, error: { message: 'audit database is down' } });
    expect(keyUse.stats().failures).toBe(failures.length);
    broken = false;
    await keyring.close();
    const { failures: failed, ...rest } = keyUse.stats();
    expect(rest).toEqual({ recorded: taken.length, dropped: 0, pending: 0, leases: 0 });
    expect(failed).toBeGreaterThanOrEqual(2);
    const ofA = taken.filter(({ org, counts }) => org === ORG_A && counts.length > 0);
    expect(ofA.map(({ counts }) => [counts[0]?.sealed, counts[0]?.opened])).toEqual([
      [1, 0],
      [0, 1],
    ]);
  });

  it('does not run within the seal that ends a lease', async () => {
    const order: string[] = [];
    const port: KeyUsePort = { record: () => void order.push('record') };
    const { keyring, clock } = await world({ keyUse: keyUseLedger({ port }) });
    const keys = await keyring.org(ORG_A);
    clock.advance(300_000);
    order.length = 0;
    expect(codeOf(() => keys.sealText(CELL, 'a'))).toBe('crypto.lease_expired');
    order.push('sealed');
    await vi.waitFor(() => expect(order).toEqual(['sealed', 'record']));
  });

  it('holds back a bounded number of reports and says which it drops', async () => {
    const failures: KeyUseFailure[] = [];
    const keyUse = keyUseLedger({
      port: { record: () => Promise.reject(new Error('down')) },
      maxPending: 3,
      onError: (failure) => {
        failures.push(failure);
        throw new Error('nor does this one work');
      },
    });
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const { keyring } = await world({ keyUse });
    for (let i = 0; i < 8; i += 1) {
      (await keyring.org(ORG_A)).sealText(CELL, 'a');
      keyring.revoke(ORG_A);
      await keyUse.flush();
    }
    const stats = keyUse.stats();
    expect(stats.pending).toBe(3);
    expect(stats.dropped).toBe(7); // two of createOrg, eight of leases, three still wait
    expect(failures.filter(({ dropped }) => dropped)).toHaveLength(stats.dropped);
    expect(warned).toHaveBeenCalled();
    warned.mockRestore();
  });

  it('that never answers is given up on after its time, so that close ends', async () => {
    const failures: KeyUseFailure[] = [];
    const keyUse = keyUseLedger({
      port: { record: () => new Promise(() => {}) },
      portTimeoutMs: 5,
      onError: (failure) => failures.push(failure),
    });
    const { keyring } = await world({ keyUse });
    (await keyring.org(ORG_A)).sealText(CELL, 'a');
    await keyring.close();
    expect(String(failures[0]?.error)).toContain('did not answer within 5 ms');
    expect(keyUse.stats().pending).toBeGreaterThan(0);
  });

  it('emits a process warning when nobody asked to be told', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const keyUse = keyUseLedger({ port: { record: () => Promise.reject(new Error('down')) } });
    const { keyring } = await world({ keyUse });
    await keyring.close();
    expect(String(warned.mock.calls[0]?.[0])).toContain('down');
    warned.mockRestore();
  });

  it('is refused with limits that are no limits', () => {
    const port: KeyUsePort = { record: () => {} };
    for (const bad of [{ flushEveryMs: 0 }, { flushEveryMs: 2 ** 31 }, { maxPending: Number.NaN }]) {
      expect(() => keyUseLedger({ port, ...bad })).toThrow(TypeError);
    }
  });
});

describe('KMS calls in the ledger', () => {
  it('can be reconciled by request id with the log of the KMS, refused calls included', async () => {
    const server = new AwsKmsServer();
    const endpoint = await server.listen();
    const arn = server.createKey('eu-central-1');
    const client = (region: string) =>
      new KMSClient({
        region,
        endpoint,
        maxAttempts: 1,
        credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
      });
    // An audit log, as far as the ledger is concerned.
    const audit = {
      events: [] as { readonly type: string; readonly data: KeyUse }[],
      async record(event: { readonly type: string; readonly data: KeyUse }): Promise<void> {
        this.events.push(event);
      },
    };
    const keyUse = keyUseLedger({
      port: { record: (use) => audit.record({ type: 'crypto.key_used', data: use }) },
    });
    const keyring = createKeyring({
      app: 'test',
      kms: [awsKms({ client: client('eu-central-1') })],
      store: memoryKeyStore(),
      kekFor: () => `aws-kms:${arn}`,
      keyUse,
      lease: { deniedForMs: 0 },
    });
    await keyring.createOrg(ORG_A);
    (await keyring.org(ORG_A)).sealText(CELL, 'a');
    keyring.revoke(ORG_A);
    server.setState(arn, 'Disabled');
    expect(await codeOfAsync(keyring.org(ORG_A))).toBe('crypto.key_revoked');
    server.setState(arn, 'Enabled');
    server.fault = 'denied';
    expect(await codeOfAsync(keyring.org(ORG_A))).toBe('crypto.key_denied');
    server.fault = undefined;
    await keyring.org(ORG_A);
    await keyring.close();
    await server.close();
    const ours = audit.events.flatMap(({ data }) => data.kms);
    const log = server.requests.map(({ operation }, i) => [`req-${i + 1}`, operation]);
    const named = ours.map(({ requestId, operation }) => [
      requestId,
      operation === 'wrap' ? 'Encrypt' : 'Decrypt',
    ]);
    expect(named).toEqual(log);
    expect(ours.map(({ outcome }) => outcome)).toEqual([
      'ok',
      'ok',
      'crypto.key_revoked',
      'crypto.key_denied',
      'ok',
    ]);
    expect(new Set(ours.map(({ kekUri }) => kekUri))).toEqual(new Set([`aws-kms:${arn}`]));
    const refused = audit.events.filter(({ data }) => data.kms.some(({ outcome }) => outcome !== 'ok'));
    expect(refused.map(({ data }) => [data.keyIds, data.counts])).toEqual([
      [[], []],
      [[], []],
    ]);
    expect(JSON.parse(JSON.stringify(audit.events))).toEqual(audit.events);
  });

  it('shows the answer that came after the time limit, and that it was not used', async () => {
    const reports: KeyUse[] = [];
    const keyUse = keyUseLedger({ port: { record: (use) => void reports.push(use) } });
    const { kms, keyring } = await world({ keyUse, lease: { kmsTimeoutMs: 20 } });
    let answer = (): void => {};
    const waiting = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const slow = createKeyring({
      app: 'test',
      kms: [
        {
          scheme: 'local',
          wrap: (uri, key, context, options) => kms.wrap(uri, key, context, options),
          unwrap: async () => {
            await waiting;
            return { key: Uint8Array.from(randomBytes(32)), requestId: 'late-1' };
          },
          describe: (uri) => kms.describe(uri),
        },
      ],
      store: memoryKeyStore(),
      kekFor: () => 'local:a',
      keyUse,
      lease: { kmsTimeoutMs: 20 },
    });
    await slow.createOrg(ORG_B);
    expect(await codeOfAsync(slow.org(ORG_B))).toBe('crypto.kms_unavailable');
    answer();
    await vi.waitFor(async () => {
      await keyUse.flush();
      const calls = reports.flatMap(({ kms: made }) => made).slice(-2);
      expect(calls.map(({ outcome, requestId }) => [outcome, requestId])).toEqual([
        ['crypto.kms_unavailable', null],
        ['late', 'late-1'],
      ]);
    });
    await keyring.close();
  });
});
