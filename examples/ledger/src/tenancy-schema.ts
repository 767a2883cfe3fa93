/**
 * What every relation of the ledger's database is to isolation. Policies and grants are generated from it, and `policies`,
 * `doctor` and `probe` hold the database against it: a table that is not named here does not compile, and a relation that
 * is not named is a finding.
 */
import { declareSchema, type TenancySchema } from '@ringfence/tenancy/policies';
import type { Database } from './schema.ts';

/** Sealing and verifying go through definer functions and reads of the own organisation's log; nothing else is granted. */
const ownLog = {
  reason: "of the audit package; the app role reads its organisation's rows",
  privileges: ['select'],
} as const;

/** Each refuses another organisation than that of the verified context. */
const ownKeys = {
  reason: 'of the authz package: works on the organisation of the verified context',
} as const;

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
    system: {
      'audit.event': ownLog,
      'audit.queue': ownLog,
      'audit.seal': ownLog,
      'audit.head': ownLog,
      'audit.pruned': ownLog,
      'audit.checkpoint': ownLog,
      'audit.tile': ownLog,
      'audit.cosignature': ownLog,
      'audit.deployment_entry': ownLog,
      'audit.copy': ownLog,
      'audit.personal': ownLog,
      'audit.subject': ownLog,
      'audit.template_key': { reason: 'keys of the audit package; the app role does not reach them' },
    },
    systemSchemas: {
      authz: { reason: 'API keys, behind functions; a login of its own finds them' },
      crypto: { reason: 'data keys, behind a login of their own' },
      pgboss: { reason: 'the job queue, behind a login of its own; what lies in it is not trusted' },
    },
    definerFunctions: {
      'authz.insert_key(uuid,jsonb)': ownKeys,
      'authz.rotate_key(uuid,text,jsonb,bigint)': ownKeys,
      'authz.revoke_keys(uuid,text,text,text,bigint)': ownKeys,
      'authz.touch_keys(uuid,jsonb)': ownKeys,
      'authz.list_keys(uuid)': ownKeys,
      'authz.insert_credential(uuid,jsonb)': ownKeys,
      'authz.find_credential(uuid,text)': ownKeys,
      'authz.replace_credential(uuid,text,integer,text,bigint)': ownKeys,
      'authz.revoke_credential(uuid,text,bigint)': ownKeys,
      'authz.list_credentials(uuid)': ownKeys,
      'audit.append(uuid,text,boolean)': {
        reason: 'writes an event of the organisation of the verified context, and of no other',
      },
      'audit.append_from_template(uuid,text,bytea,boolean,text,bigint[],boolean)': {
        reason: 'writes an event of the organisation of the verified context, and of no other',
      },
      'audit.append_batch(uuid[],text[],integer[],text[],text[],boolean)': {
        reason:
          'writes each event into the organisation of the context it comes with, verified one by one, and leaves none behind',
      },
      'audit.append_with_personal(uuid,uuid,text,boolean,text[],bytea[])': {
        reason: 'writes an event of the organisation of the verified context, and its sealed personal values',
      },
      'audit.begin_erasure(uuid,text)': {
        reason: 'marks a data subject of the organisation of the verified context; refuses another',
      },
      'audit.finish_erasure(uuid,text,uuid,text,boolean)': {
        reason:
          'ends the erasure of a data subject of the organisation of the verified context; refuses another',
      },
      'audit.seal_pending(uuid[],uuid[])': {
        reason:
          'gives committed events of the organisations of those asked for by id their places; answers positions of those asked for',
      },
      'audit.seal_next(double precision)': {
        reason:
          'gives committed events of one organisation, any, their places; answers whether there was one',
      },
      'audit.pending()': { reason: 'answers how many events of all organisations wait, and for how long' },
    },
  });
}
