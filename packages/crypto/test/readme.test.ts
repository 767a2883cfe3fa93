import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { onlyFence } from '../../../tools/doc-snippets.ts';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const format = readFileSync(new URL('../../../docs/formats/field-v1.md', import.meta.url), 'utf8');

it('the example of the README runs and prints what the README says', () => {
  const file = new URL('./readme-block.tmp.ts', import.meta.url);
  writeFileSync(file, onlyFence(readme, 'ts'));
  try {
    const args = ['--conditions=@ringfence/source', file.pathname];
    expect(execFileSync(process.execPath, args, { encoding: 'utf8' })).toBe(
      'Paid by wire\ncrypto.decrypt_failed\n',
    );
  } finally {
    rmSync(file);
  }
});

it('the README names every error code the core can throw', () => {
  const folder = new URL('../src/', import.meta.url);
  const core = readdirSync(folder).filter((file) => file.endsWith('.ts') && file !== 'errors.ts');
  const sources = core.map((file) => readFileSync(new URL(file, folder), 'utf8')).join('\n');
  const codes = new Set([...sources.matchAll(/'(crypto\.[a-z_]+)'/g)].map((match) => match[1]));
  expect(codes.size).toBeGreaterThan(14);
  expect([...codes].filter((code) => !readme.includes(`\`${code}\``))).toEqual([]);
});

it('the values in the format document are those of the first vector', () => {
  const vectors = readFileSync(new URL('../vectors/field-v1.json', import.meta.url), 'utf8');
  const first: Record<string, string> = JSON.parse(vectors).opens[0];
  for (const name of ['dek', 'keyId', 'fieldKey', 'salt', 'messageKey', 'commitment', 'nonce', 'plaintext']) {
    expect(format).toContain(first[name]);
  }
});
