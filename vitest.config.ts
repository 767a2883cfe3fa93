import { availableParallelism } from 'node:os';
import type { ViteUserConfig } from 'vitest/config';

const source = { conditions: ['@ringfence/source'] };

const config: ViteUserConfig = {
  resolve: source,
  ssr: { resolve: source },
  test: {
    include: ['packages/*/test/**/*.test.ts', 'examples/*/test/**/*.test.ts', 'tools/**/*.test.ts'],
    globalSetup: ['tools/vitest-global.ts'],
    typecheck: {
      enabled: true,
      include: ['packages/*/test/**/*.test-d.ts', 'examples/*/test/**/*.test-d.ts'],
    },
    // One less than the cores would be a single one on two cores, where the tests wait for PostgreSQL half of the time.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
};

export default config;
