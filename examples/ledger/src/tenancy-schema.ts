/**
 * What every relation of the ledger's database is to isolation. Policies and grants are generated from it, and `policies`,
 * `doctor` and `probe` hold the database against it: a table that is not named here does not compile, and a relation that
 * is not named is a finding.
 */
import { auditDeclaration } from '@ringfence/audit/migrations';
import { authzDeclaration } from '@ringfence/authz/migrations';
import { declareSchema, type TenancySchema } from '@ringfence/tenancy/policies';
import type { Database } from './schema.ts';

/** The declaration, for the name of the app role. */
export function tenancySchema(appRole: string): TenancySchema {
  return declareSchema<Database>()({
    appRole,
    org: {
      'ledger.org': { key: [], privileges: ['select', 'insert', 'update'] },
      'ledger.member': {
        key: ['user_id'],
        unique: [['issuer', 'subject']],
        privileges: ['select', 'insert', 'update'],
      },
      'ledger.statement': { key: ['id'], privileges: ['select', 'insert', 'update'] },
      'ledger.bank_line': {
        key: ['id'],
        unique: [['bank_transaction_id']],
        references: [{ columns: ['statement_id'], table: 'ledger.statement' }],
        privileges: ['select', 'insert'],
      },
      'ledger.entry': {
        key: ['id'],
        unique: [['bank_line_id']],
        references: [{ columns: ['bank_line_id'], table: 'ledger.bank_line' }],
        privileges: ['select', 'insert', 'update'],
      },
      'ledger.review': {
        key: ['id'],
        references: [{ columns: ['entry_id'], table: 'ledger.entry' }],
        privileges: ['select', 'insert'],
      },
      'ledger.attachment': {
        key: ['id'],
        references: [{ columns: ['entry_id'], table: 'ledger.entry' }],
        privileges: ['select', 'insert'],
      },
      'tenancy.job_mark': { key: ['job_id', 'mark'], privileges: ['select', 'insert', 'delete'] },
    },
    system: auditDeclaration.system,
    systemSchemas: {
      ...authzDeclaration.systemSchemas,
      crypto: { reason: 'data keys, behind a login of their own' },
      pgboss: { reason: 'the job queue, behind a login of its own; what lies in it is not trusted' },
    },
    definerFunctions: { ...authzDeclaration.definerFunctions, ...auditDeclaration.definerFunctions },
  });
}
