/**
 * What schema `audit` is to the isolation of the database it lives in, for the declaration that `@ringfence/tenancy` holds the
 * catalog against. Invariant: every table of the schema, and every SECURITY DEFINER function that the app role may execute.
 */

/** A function that runs with its owner's rights. */
export interface DeclaredFunction {
  /** What it is safe by, one sentence for reviewers. */
  readonly reason: string;
}

/** A table that is not the app role's to write. */
export interface DeclaredTable {
  /** What it is, one sentence for reviewers. */
  readonly reason: string;
  /** What the app role may do there. Default: nothing. */
  readonly privileges?: readonly 'select'[];
}

/** The parts of a declaration that name what a package brings. */
export interface AuditDeclaration {
  /** Tables, by `schema.name`. */
  readonly system: Readonly<Record<string, DeclaredTable>>;
  /** Functions, by `schema.name(argument types)`. */
  readonly definerFunctions: Readonly<Record<string, DeclaredFunction>>;
}

/** Sealing and verifying go through definer functions and reads of the own organisation's log; nothing else is granted. */
const OWN_LOG = {
  reason: "of the audit package; the app role reads its organisation's rows",
  privileges: ['select'],
} as const;
const READ = [
  ...[
    'event',
    'queue',
    'seal',
    'head',
    'pruned',
    'checkpoint',
    'tile',
    'cosignature',
    'deployment_entry',
    'copy',
  ],
  ...['personal', 'subject'],
];
const APPENDS = {
  reason: 'writes an event of the organisation of the verified context, and of no other',
};

/**
 * What the migrations of this package bring, for `declareSchema` of `@ringfence/tenancy/policies`.
 *
 * @example
 * ```ts
 * const { system, definerFunctions } = auditDeclaration;
 * declareSchema<Database>()({ appRole, org, system, definerFunctions });
 * ```
 */
export const auditDeclaration: AuditDeclaration = {
  system: {
    ...Object.fromEntries(READ.map((table) => [`audit.${table}`, OWN_LOG])),
    'audit.template_key': { reason: 'keys of the audit package; the app role does not reach them' },
  },
  definerFunctions: {
    'audit.append(uuid,text,boolean)': APPENDS,
    'audit.append_from_template(uuid,text,bytea,boolean,text,bigint[],boolean)': APPENDS,
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
      reason: 'gives committed events of one organisation, any, their places; answers whether there was one',
    },
    'audit.pending()': { reason: 'answers how many events of all organisations wait, and for how long' },
  },
};
