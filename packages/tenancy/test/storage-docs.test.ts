import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  type OrgId,
  parseOrgId,
  proveIsolation,
  type StorageOperation,
  storageDocuments,
} from '../src/storage/index.ts';
import { storageMutations } from '../src/storage/testing/index.ts';

const page = readFileSync(new URL('../../../docs/storage.md', import.meta.url), 'utf8');
const ORG: OrgId = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
const documents = storageDocuments({
  bucket: 'acme-objects',
  roleArn: 'arn:aws:iam::111122223333:role/app-objects',
  appArn: 'arn:aws:iam::111122223333:role/app',
});

test.each([
  ['bucketPolicy', documents.bucketPolicy],
  ['rolePolicy', documents.rolePolicy],
  ['trustPolicy', documents.trustPolicy],
  ['sessionPolicy', documents.sessionPolicy(ORG)],
])('docs/storage.md prints the %s that is generated', (name, document) => {
  const [, shown] = new RegExp(`<!-- ${name} -->\\n\`\`\`json\\n([\\s\\S]*?)\`\`\``).exec(page) ?? [];
  expect(JSON.parse(shown ?? 'null')).toEqual(document);
});

test('docs/storage.md names the figures of the proof', () => {
  const { pairs, decisions } = proveIsolation(documents);
  const figure = (value: number) => value.toLocaleString('en-GB');
  expect(page).toContain(
    `${figure(pairs)} requests, ${figure(decisions)} decisions, 0 findings; ${storageMutations.length} of ${storageMutations.length} mistakes found`,
  );
}, 60_000);

test('docs/storage.md names the longest session policy', () => {
  const operations: StorageOperation[] = ['read', 'write', 'list', 'versions', 'delete'];
  const { sessionPolicy } = storageDocuments({ ...documents, bucket: 'b'.repeat(63), operations });
  const { length } = JSON.stringify(sessionPolicy(ORG));
  expect(page).toContain(`${length} with every operation and the longest`);
});
