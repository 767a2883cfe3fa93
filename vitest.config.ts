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
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
};

export default config;
