/**
 * `pnpm isolation`: puts the ledger into a fresh PostgreSQL and holds it against its declaration with the command line of
 * `@ringfence/tenancy`: `policies`, `doctor --strict`, `probe`; and the guards of its audit log with `doctor --strict` of
 * `@ringfence/audit`. Exits 0 only if all four do.
 */
import { startPostgres } from '../../../tools/postgres.ts';
import { createTestDatabase } from '../../../tools/test-database.ts';
import { auditDoctor } from './audit-cli.ts';
import { newSecrets, provision } from './provision.ts';
import { tenancyCli } from './tenancy-cli.ts';

const COMMANDS = [['policies'], ['doctor', '--strict'], ['probe']] as const;

const server = await startPostgres();
const database = await createTestDatabase(server.url, 'ledger');
const secrets = newSecrets();
const { close } = await provision(database, { secrets });
let failed = 0;
try {
  for (const command of COMMANDS) {
    const { exitCode, output } = await tenancyCli(
      { ...database, contextKey: secrets.contextKey },
      ...command,
    );
    console.log(`$ tenancy ${command.join(' ')}\n${output}exit code ${exitCode}\n`);
    if (exitCode !== 0) failed++;
  }
  const { exitCode, output } = await auditDoctor(database, '--strict');
  console.log(`$ audit doctor --strict\n${output}exit code ${exitCode}\n`);
  if (exitCode !== 0) failed++;
} finally {
  await close();
  await database.drop();
  await server.stop();
}
process.exitCode = failed === 0 ? 0 : 1;
