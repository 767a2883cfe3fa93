/** Starts one PostgreSQL for the whole test run and hands its superuser URL to the test files. */
import type { TestProject } from 'vitest/node';
import { startPostgres } from './postgres.ts';

declare module 'vitest' {
  interface ProvidedContext {
    databaseUrl: string;
  }
}

/** vitest global set-up: returns the tear-down. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await startPostgres({ settings: { fsync: 'off' } });
  project.provide('databaseUrl', server.url);
  return () => server.stop();
}
