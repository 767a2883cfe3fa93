import { defineConfig } from 'tsup';

const config: ReturnType<typeof defineConfig> = defineConfig({
  entry: {
    index: 'src/index.ts',
    verify: 'src/verify/index.ts',
    personal: 'src/personal/index.ts',
    query: 'src/query/index.ts',
    cli: 'src/cli/main.ts',
    capture: 'src/capture/index.ts',
    retention: 'src/retention/index.ts',
    doctor: 'src/doctor/index.ts',
    otel: 'src/otel/index.ts',
    checkpoint: 'src/checkpoint/index.ts',
    'verify-worker': 'src/parallel/block-worker.ts',
    'write-once': 'src/write-once/index.ts',
    s3: 'src/s3/index.ts',
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
