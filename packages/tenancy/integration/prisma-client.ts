/** Prisma from the peers' folder: the client is generated there, the driver adapter shares the workspace's `pg`. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Pool } from 'pg';
import { loadPeer } from '../../../tools/bench/peer.ts';
import type { PrismaPgAdapter } from '../src/prisma/index.ts';

interface Row {
  readonly orgId: string;
  readonly id: string;
  readonly body: string;
}
interface Model {
  findMany(args?: object): Promise<Row[]>;
  findUnique(args: object): Promise<Row | null>;
  create(args: object): Promise<Row>;
  createMany(args: object): Promise<{ count: number }>;
  updateMany(args: object): Promise<{ count: number }>;
  count(args?: object): Promise<number>;
}
/** What the tests use of the generated client. */
export interface PrismaClient {
  readonly note: Model;
  readonly tag: Model;
  $extends(extension: object): PrismaClient;
  $transaction<T>(run: (tx: PrismaClient) => Promise<T>, options?: object): Promise<T>;
  $transaction(operations: readonly Promise<unknown>[]): Promise<unknown[]>;
  $queryRawUnsafe(text: string, ...values: unknown[]): Promise<Record<string, unknown>[]>;
  $executeRawUnsafe(text: string, ...values: unknown[]): Promise<number>;
  $disconnect(): Promise<void>;
}
interface Prisma {
  readonly PrismaClient: new (options: {
    adapter: PrismaPgAdapter;
    transactionOptions?: object;
  }) => PrismaClient;
}
interface Adapter {
  readonly PrismaPg: new (pool: Pool) => PrismaPgAdapter;
}

/** Loads Prisma, after its client has been generated. */
export async function loadPrisma(): Promise<Prisma & Adapter> {
  const { PrismaPg } = await loadPeer<Adapter>('@prisma/adapter-pg');
  const peers = fileURLToPath(new URL('../../../tools/bench/peers/', import.meta.url));
  execFileSync(`${peers}node_modules/.bin/prisma`, ['generate', '--schema', `${peers}tenancy.prisma`], {
    // Generating runs no schema engine: naming any program keeps the command from downloading one.
    env: { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath, CHECKPOINT_DISABLE: '1' },
    stdio: 'pipe',
  });
  const { PrismaClient } = await loadPeer<Prisma>('@prisma/client');
  return { PrismaClient, PrismaPg };
}
