import type { ViteUserConfig } from 'vitest/config';

const source = { conditions: ['@ringfence/source'] };

/** Tests against components that do not come from npm. A missing component fails. */
const config: ViteUserConfig = {
  resolve: source,
  ssr: { resolve: source },
  test: {
    include: [
      'packages/*/integration/**/*.integration.test.ts',
      'examples/*/integration/**/*.integration.test.ts',
    ],
    globalSetup: ['tools/vitest-global.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
};

export default config;
