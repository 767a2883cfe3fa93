/** Runs in the browser's worker: links verified, or only hashed, per second, of an export that is at hand. */
import { sha256 } from '@noble/hashes/sha2.js';
import { verifyExport } from '../src/verify/index.ts';

const SLICE_MS = 1_500;

/** Events a second. */
export default async function rate(): Promise<number> {
  const what = await (await fetch('/what')).text();
  const bytes = new Uint8Array(await (await fetch('/export')).arrayBuffer());
  const link = new Uint8Array(89);
  // As long as what is hashed: 0x00 and the record, without the rest of its line.
  const lines = new TextDecoder().decode(bytes).trimEnd().split('\n').slice(1, -1);
  const records = lines.map((line) =>
    new TextEncoder().encode(line.slice('{"canon"'.length, line.lastIndexOf(',"hash":"'))),
  );
  const once = async () => {
    if (what === 'ringfence') return (await verifyExport([bytes])).checked;
    for (const record of records) {
      sha256(record);
      sha256(link);
    }
    return records.length;
  };
  await once();
  const start = performance.now();
  let done = 0;
  while (performance.now() - start < SLICE_MS) done += await once();
  return done / ((performance.now() - start) / 1_000);
}
