/** What the generator of capture triggers refuses and quotes. */
import { expect, test } from 'vitest';
import { captureTriggers } from '../src/capture/index.ts';
import { RingfenceAuditError } from '../src/index.ts';

const REFUSING = { table: 'app.bill', target: 'bill', exclude: ['touched'], redact: ['iban'] };

test.each([{ table: 'bill' }, { table: 'app.bill; drop' }, { table: 'app."b"' }, { table: 'a.b.c' }])(
  'makes no DDL from %j',
  (wrong) => {
    expect(() => captureTriggers({ ...REFUSING, ...wrong })).toThrow(RingfenceAuditError);
  },
);

test.each([
  { target: 'Bill' },
  { idColumns: [] },
  { exclude: ['id'] },
  { redact: ['org_id'] },
  { exclude: ['a'], redact: ['a'] },
  { exclude: ['a\\'] },
  { redact: [''] },
  { withoutContext: 'ignore' as 'record' },
])('refuses the settings %j', (wrong) => {
  expect(() => captureTriggers({ ...REFUSING, ...wrong })).toThrow(TypeError);
});

test('quotes what stands in settings', () => {
  expect(captureTriggers({ ...REFUSING, exclude: [`o'brien`] }).up).toContain(`"exclude":["o''brien"]`);
});
