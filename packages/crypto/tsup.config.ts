import { defineConfig } from 'tsup';

const config: ReturnType<typeof defineConfig> = defineConfig({
  entry: {
    index: 'src/index.ts',
    local: 'src/local/index.ts',
    postgres: 'src/postgres/index.ts',
    testing: 'src/testing/index.ts',
    'aws-kms': 'src/aws-kms/index.ts',
    'gcp-kms': 'src/gcp-kms/index.ts',
    'azure-key-vault': 'src/azure-key-vault/index.ts',
    files: 'src/files/index.ts',
    kysely: 'src/kysely/index.ts',
    operations: 'src/operations/index.ts',
    subjects: 'src/subjects/index.ts',
    'key-use': 'src/key-use/index.ts',
    'cli-config': 'src/cli/index.ts',
    cli: 'src/cli/main.ts',
    migrations: 'src/postgres/migrations.ts',
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
