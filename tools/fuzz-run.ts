/** `pnpm fuzz [FILTER...]`: the test files that use fast-check, with new cases, until one fails or `RINGFENCE_FUZZ_ROUNDS` are over. */
import { spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';

const { RINGFENCE_FUZZ_ROUNDS = '1' } = process.env;
const rounds = Number(RINGFENCE_FUZZ_ROUNDS);
const filters = process.argv.slice(2);
const files = globSync('packages/*/test/**/*.test.ts')
  .filter((file) => filters.length === 0 || filters.some((part) => file.includes(part)))
  .filter((file) => readFileSync(file, 'utf8').includes('tools/fuzz.ts'));
const env = { ...process.env, RINGFENCE_FUZZ_SEED: 'random' };
for (let round = 1; round <= rounds; round++) {
  const { status } = spawnSync(
    process.execPath,
    ['node_modules/vitest/vitest.mjs', 'run', '--typecheck.enabled=false', ...files],
    { env, stdio: 'inherit' },
  );
  if (status !== 0) process.exit(status ?? 1);
}
