import { defineConfig } from 'tsup';

const config: ReturnType<typeof defineConfig> = defineConfig({
  entry: {
    index: 'src/index.ts',
    testing: 'src/testing/index.ts',
    sql: 'src/sql/index.ts',
    kysely: 'src/kysely.ts',
    session: 'src/session/index.ts',
    cedar: 'src/cedar/index.ts',
    analyze: 'src/analyze/index.ts',
    keys: 'src/keys/index.ts',
    hono: 'src/hono/index.ts',
    express: 'src/express/index.ts',
    fastify: 'src/fastify/index.ts',
    postgres: 'src/postgres/index.ts',
    cli: 'src/cli/main.ts',
    migrations: 'src/migrations.ts',
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
