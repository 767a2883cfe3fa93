/**
 * `policies`: prints the SQL of a declaration, what differs from it in the database, or the steps that mend that.
 * Reads only; running the steps is `applyMigration`, or a person's doing.
 */
import { readCatalog } from '../catalog/read-catalog.ts';
import type { Difference, MigrationStep } from '../policies/difference.ts';
import { differences } from '../policies/differences.ts';
import { migrationSteps } from '../policies/migration-steps.ts';
import { policySql } from '../policies/policy-sql.ts';
import { usage } from './arguments.ts';
import type { Command } from './command.ts';
import { printable, type Terminal } from './terminal.ts';

/** Runs `policies`. */
export const policiesCommand: Command = async ({ args, config, db, terminal }) => {
  const modes = ['print', 'diff', 'steps'].filter((one) => args.on.has(one));
  if (modes.length > 1) throw usage(`policies takes one of ${modes.map((mode) => `--${mode}`).join(', ')}`);
  const { schema, backfill = {} } = config;
  if (args.on.has('print')) {
    const sql = policySql(schema);
    return { exit: 0, document: { command: 'policies', sql }, lines: [sql.trimEnd()] };
  }
  const catalog = await readCatalog(db);
  if (args.on.has('steps')) {
    const steps = migrationSteps(schema, catalog, { backfill });
    const lines = steps.map((step, index) => stepText(step, index + 1));
    return { exit: steps.length === 0 ? 0 : 1, document: { command: 'policies', steps }, lines };
  }
  const found = differences(schema, catalog, { backfill });
  const covered = `covered: ${schema.org.size} org-owned and ${schema.global.size} global tables`;
  return {
    exit: found.length === 0 ? 0 : 1,
    document: { command: 'policies', differences: found },
    lines:
      found.length === 0
        ? [terminal.paint('green', covered)]
        : found.map((one) => differenceText(terminal, one)),
  };
};

function differenceText(terminal: Terminal, { kind, relation, expected, found, mend }: Difference): string {
  const lines = [
    `${terminal.paint('red', kind)}  ${terminal.paint('bold', printable(relation))}`,
    `  expected  ${printable(expected)}`,
    `  found     ${printable(found)}`,
    mend.length === 0 ? '  a person has to decide' : `  mended by ${mend.map(({ why }) => why).join('; ')}`,
  ];
  return lines.join('\n');
}

function stepText({ relation, sql, transaction, lock, why }: MigrationStep, number: number): string {
  const how = transaction === 'own' ? 'in a transaction' : 'not in a transaction';
  const held = lock.mode === 'none' ? 'no table lock' : `${lock.mode} for a ${lock.duration}`;
  return `-- ${number}. ${printable(relation)}: ${why} (${held}; ${how})\n${printable(sql)}\n`;
}
