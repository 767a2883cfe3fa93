/**
 * A known answer of format v1, checked when a keyring is made: a runtime whose one-shot hash or string keys behave
 * otherwise must not write messages that no other process can open. Costs some microseconds.
 */
import { ColumnContexts } from './field-context.ts';
import { FieldKey } from './field-key.ts';
import { MessageSlab } from './message-slab.ts';
import { parseOrgId } from './org-id.ts';
import { SaltSource } from './salt-source.ts';

const EXPECTED =
  '0101000102030405060708090a0b0c0d0e0fa5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a54de08f8586c83a9fab5ab39f69ae5cb9ea1e447a43c70ac191b078f9ad4eedcc1c1f734b84e038f601a27c187a1160663246e6a6b0b2e927e6';

/** @throws Error when this runtime does not reproduce the known answer. */
export function assertRuntimeKnowsFormat(): void {
  const counted = Uint8Array.from({ length: 32 }, (_, i) => i);
  const key = new FieldKey(
    counted,
    parseOrgId('00000000-0000-4000-8000-000000000001'),
    counted.subarray(0, 16),
  );
  const salts = new SaltSource((buffer) => buffer.fill(0xa5), false);
  const context = new ColumnContexts().get('t', 'c', undefined);
  const message = key.seal(context, 'r', 'ringfence', salts, new MessageSlab());
  const opened = key.open(context, 'r', message);
  if (Buffer.from(message).toString('hex') !== EXPECTED || Buffer.from(opened).toString() !== 'ringfence') {
    throw new Error('this runtime does not reproduce the known answer of the field message format');
  }
}
