/** Notes and checkpoints: the published example, every changed byte, and text of any kind. */

import { expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { signNote } from '../src/checkpoint/signer.ts';
import { formatCheckpoint, openCheckpoint, parseCheckpoint } from '../src/verify/checkpoint.ts';
import {
  formatSignatureLine,
  formatVerifierKey,
  isKeyName,
  MOST_NOTE_BYTES,
  parseNote,
  parseSignatureLines,
  parseVerifierKey,
  verifierKey,
  verifyNote,
} from '../src/verify/signed-note.ts';
import { MemoryLog, newSigner } from './memory-log.ts';

/** From c2sp.org/signed-note. */
const EXAMPLE_KEY = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k';
const EXAMPLE = `This is an example message.

\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
`;
/** From c2sp.org/tlog-cosignature: a log's signature and a witness's. */
const COSIGNED = `example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
`;
const LOG = 'ledger.example/audit/one';

test('verifies the example of the specification, and reads its checkpoint', async () => {
  const key = parseVerifierKey(EXAMPLE_KEY);
  expect(formatVerifierKey(key)).toBe(EXAMPLE_KEY);
  const note = parseNote(EXAMPLE);
  expect(note?.text).toBe('This is an example message.\n');
  expect(await verifyNote(note ?? { text: '', signatures: [] }, [key])).toEqual([
    { key, timestamp: undefined },
  ]);
  const cosigned = parseNote(new TextEncoder().encode(COSIGNED));
  expect(parseCheckpoint(cosigned?.text ?? '')).toMatchObject({
    origin: 'example.com/behind-the-sofa',
    size: 20_852_163,
  });
  expect(cosigned?.signatures.map(formatSignatureLine).join('')).toBe(
    COSIGNED.slice(COSIGNED.indexOf('\u2014')),
  );
});

test('refuses a checkpoint with any byte changed, taken out or put in', async () => {
  const log = new MemoryLog(LOG);
  const trust = { origin: LOG, keys: [parseVerifierKey(log.key)] };
  const note = new TextEncoder().encode(await log.note(5));
  expect(await openCheckpoint(note, trust)).toMatchObject({ ok: true, checkpoint: { size: 5 } });
  for (let at = 0; at < note.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const changed = Uint8Array.from(note);
      changed[at] = (changed[at] ?? 0) ^ (1 << bit);
      expect([at, bit, (await openCheckpoint(changed, trust)).ok]).toEqual([at, bit, false]);
    }
    const shorter = Uint8Array.from([...note.subarray(0, at), ...note.subarray(at + 1)]);
    expect([at, (await openCheckpoint(shorter, trust)).ok]).toEqual([at, false]);
    const longer = Uint8Array.from([...note.subarray(0, at), 0x41, ...note.subarray(at)]);
    expect([at, (await openCheckpoint(longer, trust)).ok]).toEqual([at, false]);
  }
});

test('never throws on a note or a checkpoint, whatever it holds', async () => {
  const log = new MemoryLog(LOG);
  const trust = { origin: LOG, keys: [parseVerifierKey(log.key)] };
  const note = await log.note(3);
  const part = fc.oneof(
    fc.constantFrom(
      '\n',
      '\n\n',
      '\u2014 ',
      LOG,
      '3',
      '03',
      '-1',
      '9'.repeat(20),
      '\0',
      '\ud800',
      '\u0085',
      '=',
      '+',
      note,
    ),
    fc.string({ unit: 'binary' }),
    fc.base64String(),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(part, { maxLength: 12 }), async (parts) => {
      const text = parts.join('');
      if (text !== note) expect((await openCheckpoint(text, trust)).ok).toBe(false);
      parseSignatureLines(text);
      parseCheckpoint(text);
    }),
    { numRuns: 500 },
  );
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
      expect((await openCheckpoint(bytes, trust)).ok).toBe(false);
    }),
  );
});

test('a checkpoint is read as it was written, in one spelling only', () => {
  const sizes = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
  fc.assert(
    fc.property(sizes, fc.uint8Array({ minLength: 32, maxLength: 32 }), (size, root) => {
      expect(parseCheckpoint(formatCheckpoint({ origin: LOG, size, root }))).toEqual({
        origin: LOG,
        size,
        root,
      });
    }),
  );
  const good = formatCheckpoint({ origin: LOG, size: 7, root: new Uint8Array(32) });
  expect(parseCheckpoint(good)?.size).toBe(7);
  const bad = [
    '',
    good.slice(0, -1),
    `${good}\n`,
    `${good}more\n`,
    good.replace('\n7\n', '\n07\n'),
    good.replace('\n7\n', '\n+7\n'),
    good.replace('\n7\n', '\n7.0\n'),
    good.replace('\n7\n', '\n9007199254740992\n'),
    good.replace('\n7\n', '\n\n'),
    good.replace('A=', 'B='),
    good.replace('AAA=', '='),
    good.replace('=', ''),
    good.replace(LOG, ''),
  ];
  for (const text of bad) expect([text, parseCheckpoint(text)]).toEqual([text, undefined]);
});

test('ignores strangers, refuses the whole note for one bad signature of a known key', async () => {
  const [own, stranger] = [newSigner('own.example'), newSigner('own.example')];
  const key = verifierKey(own.name, 'ed25519', own.publicKey);
  const text = 'text\n';
  const line = (await signNote(text, own)).slice(text.length + 1);
  const other = (await signNote(text, stranger)).slice(text.length + 1);
  const wrong = (await signNote('another\n', own)).slice('another\n'.length + 1);
  const open = (lines: string) =>
    verifyNote(parseNote(`${text}\n${lines}`) ?? { text: '', signatures: [] }, [key]);
  expect(await open(line)).toHaveLength(1);
  expect(await open(other + line + line)).toHaveLength(1);
  expect(await open(other)).toBeUndefined();
  expect(await open(line + wrong)).toBeUndefined();
  expect(await open(wrong + line)).toBeUndefined();
  expect(parseNote(`${text}\n${line.repeat(64)}`)?.signatures).toHaveLength(64);
  expect(parseNote(`${text}\n${line.repeat(65)}`)).toBeUndefined();
  expect(parseNote(`${'x'.repeat(MOST_NOTE_BYTES)}\n\n${line}`)).toBeUndefined();
});

test('a signature of one kind does not pass for the other, nor a cosignature with another time', async () => {
  const signer = newSigner('w.example');
  const asLog = verifierKey(signer.name, 'ed25519', signer.publicKey);
  const asWitness = verifierKey(signer.name, 'cosignature-v1', signer.publicKey);
  expect(asLog.keyId).not.toBe(asWitness.keyId);
  const text = 'a\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n';
  const raw = await signer.sign(new TextEncoder().encode(text));
  const timed = (time: bigint, signature: Uint8Array) => {
    const bytes = new Uint8Array(8 + signature.length);
    new DataView(bytes.buffer).setBigUint64(0, time);
    bytes.set(signature, 8);
    return { text, signatures: [{ name: signer.name, keyId: asWitness.keyId, signature: bytes }] };
  };
  const cosigned = await signer.sign(new TextEncoder().encode(`cosignature/v1\ntime 7\n${text}`));
  expect(await verifyNote(timed(7n, cosigned), [asWitness])).toEqual([{ key: asWitness, timestamp: 7 }]);
  for (const note of [
    timed(8n, cosigned),
    timed(7n, raw),
    timed(0n, cosigned),
    timed(2n ** 63n, cosigned),
    timed(7n, cosigned.subarray(1)),
  ]) {
    expect(await verifyNote(note, [asWitness])).toBeUndefined();
  }
  const zero = await signer.sign(new TextEncoder().encode(`cosignature/v1\ntime 0\n${text}`));
  expect(await verifyNote(timed(0n, zero), [asWitness])).toBeUndefined();
  const short = { text, signatures: [{ name: signer.name, keyId: asWitness.keyId, signature: raw }] };
  expect(await verifyNote(short, [asWitness])).toBeUndefined();
  expect(
    await verifyNote({ text, signatures: [{ name: signer.name, keyId: asLog.keyId, signature: cosigned }] }, [
      asLog,
    ]),
  ).toBeUndefined();
});

test('counts witnesses by their keys, and takes no witness for the log', async () => {
  const log = new MemoryLog(LOG);
  const [a, b] = [newSigner('a.example'), newSigner('b.example')];
  const note = await log.note(4);
  const text = note.slice(0, note.indexOf('\n\n') + 1);
  const lineOf = async (signer: typeof a, name: string) => {
    const key = verifierKey(name, 'cosignature-v1', signer.publicKey);
    const raw = await signer.sign(new TextEncoder().encode(`cosignature/v1\ntime 9\n${text}`));
    return {
      key,
      line: formatSignatureLine({
        name,
        keyId: key.keyId,
        signature: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 9, ...raw),
      }),
    };
  };
  const [one, alias, two] = [
    await lineOf(a, 'a.example'),
    await lineOf(a, 'alias.example'),
    await lineOf(b, 'b.example'),
  ];
  const trust = {
    origin: LOG,
    keys: [parseVerifierKey(log.key)],
    witnesses: [one.key, alias.key, two.key],
    quorum: 2,
  };
  expect(await openCheckpoint(note + one.line + alias.line, trust)).toEqual({
    ok: false,
    reason: 'too_few_witnesses',
  });
  expect(await openCheckpoint(note + one.line + two.line, trust)).toMatchObject({ ok: true });
  expect(await openCheckpoint(`${text}\n${one.line}${two.line}`, trust)).toEqual({
    ok: false,
    reason: 'unsigned',
  });
  expect(await openCheckpoint(note, { ...trust, quorum: 0, origin: 'other' })).toEqual({
    ok: false,
    reason: 'other_origin',
  });
});

test('refuses verifier keys that are malformed', () => {
  for (const bad of [
    '',
    'a',
    'a+b',
    EXAMPLE_KEY.replace('530d903a', '530d903b'),
    EXAMPLE_KEY.replace('example.com/foo', 'example.com/fooo'),
    EXAMPLE_KEY.replace('+Aek', '+Bek'),
    EXAMPLE_KEY.slice(0, -4),
    `${EXAMPLE_KEY}=`,
    EXAMPLE_KEY.replace('530d903a', '530D903A'),
  ]) {
    expect(() => parseVerifierKey(bad)).toThrow(TypeError);
  }
  expect(['a', 'a b', 'a+b', '', 'a\u0085', 'a\u3000b', 'a\nb'].map(isKeyName)).toEqual([
    true,
    false,
    false,
    false,
    false,
    false,
    false,
  ]);
  expect(() => verifierKey('a', 'ed25519', new Uint8Array(31))).toThrow(TypeError);
});
