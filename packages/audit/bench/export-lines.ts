/** An honest export of any length, made while it is read: about 720 bytes a record, without a database. */
import { hash } from 'node:crypto';
import { canonicalize } from '../src/canonical-json.ts';

const ORG = '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60';
const ZERO = '0'.repeat(64);
const CHUNK_LINKS = 500;

function recordOf(number: number, id: string): string {
  return canonicalize({
    v: 1,
    org: ORG,
    id,
    at: '2026-03-03T10:11:12.131415Z',
    actor: `user:${number % 50}`,
    request: id,
    event: {
      type: 'invoice.approved',
      outcome: 'success',
      reason: 'matches PO 4711',
      target: { type: 'invoice', id: `inv-${number}` },
      data: { currency: 'EUR', lines: 12 },
      note: 'Checked against the delivery note and the order; quantity and price agree with the frame contract.',
      changes: {
        status: { from: 'draft', to: 'approved' },
        approver: { from: null, to: `user:${number % 97}` },
        amount: { from: '12345.60', to: '12345.67' },
        memo: { from: 'Office chairs for the second floor', to: 'Office chairs for the second floor, 12' },
      },
    },
  });
}

/** The chunks of an export of so many links. */
export function* exportLines(links: number): Generator<Uint8Array> {
  const block = Buffer.alloc(89);
  block[0] = 2;
  block.write(ORG.replaceAll('-', ''), 1, 'hex');
  let previous = ZERO;
  let text = `{"format":"ringfence-audit-export","from":{"hash":"${ZERO}","seq":0},"org":"${ORG}","v":1}\n`;
  for (let seq = 1; seq <= links; seq++) {
    const id = `0190f5d2-7b1c-7d34-9a51-${String(seq).padStart(12, '0')}`;
    const canon = recordOf(seq, id);
    block.writeBigUInt64BE(BigInt(seq), 17);
    block.write(previous, 25, 'hex');
    block.write(hash('sha256', `\0${canon}`), 57, 'hex');
    previous = hash('sha256', block);
    text += `{"canon":${canon},"hash":"${previous}","id":"${id}","seq":${seq}}\n`;
    if (seq % CHUNK_LINKS === 0) {
      yield Buffer.from(text);
      text = '';
    }
  }
  yield Buffer.from(`${text}{"end":{"hash":"${previous}","seq":${links}}}\n`);
}
