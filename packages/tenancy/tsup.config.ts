import { defineConfig } from 'tsup';

const config: ReturnType<typeof defineConfig> = defineConfig({
  entry: {
    index: 'src/index.ts',
    doctor: 'src/doctor/index.ts',
    testing: 'src/testing/index.ts',
    policies: 'src/policies/index.ts',
    'cli-config': 'src/cli/index.ts',
    cli: 'src/cli/main.ts',
    jobs: 'src/jobs/index.ts',
    'pg-boss': 'src/pg-boss/index.ts',
    'graphile-worker': 'src/graphile-worker/index.ts',
    bullmq: 'src/bullmq/index.ts',
    pg: 'src/pg/index.ts',
    prisma: 'src/prisma/index.ts',
    hono: 'src/hono/index.ts',
    express: 'src/express/index.ts',
    fastify: 'src/fastify/index.ts',
    context: 'src/ambient/index.ts',
    storage: 'src/storage/index.ts',
    'storage-directory': 'src/storage-directory/index.ts',
    'storage-testing': 'src/storage/testing/index.ts',
    s3: 'src/s3/index.ts',
    'break-glass': 'src/break-glass/index.ts',
    migrations: 'src/migrations/index.ts',
  },
  format: ['esm'],
  target: 'node22',
  dts: true,
  sourcemap: true,
  clean: true,
  treeshake: true,
  removeNodeProtocol: false,
});

export default config;
