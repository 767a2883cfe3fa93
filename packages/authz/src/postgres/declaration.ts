/**
 * What schema `authz` is to the isolation of the database it lives in, for the declaration that `@ringfence/tenancy` holds the
 * catalog against. Invariant: every SECURITY DEFINER function that the app role may execute; it has no right on a table.
 */

/** Why something runs with its owner's rights, or is out of reach. */
export interface Declared {
  /** One sentence, for reviewers. */
  readonly reason: string;
}

/** The parts of a declaration that name what a package brings. */
export interface AuthzDeclaration {
  /** Schemas without any right of the app role. */
  readonly systemSchemas: Readonly<Record<string, Declared>>;
  /** Functions, by `schema.name(argument types)`. */
  readonly definerFunctions: Readonly<Record<string, Declared>>;
}

/** Each refuses another organisation than that of the verified context. */
const OWN_KEYS = { reason: 'of the authz package: works on the organisation of the verified context' };

/**
 * What the migrations of this package bring, for `declareSchema` of `@ringfence/tenancy/policies`.
 *
 * @example
 * ```ts
 * const { systemSchemas, definerFunctions } = authzDeclaration;
 * declareSchema<Database>()({ appRole, org, systemSchemas, definerFunctions });
 * ```
 */
export const authzDeclaration: AuthzDeclaration = {
  systemSchemas: {
    authz: { reason: 'API keys, behind functions; a login of its own finds them' },
  },
  definerFunctions: {
    'authz.insert_key(uuid,jsonb)': OWN_KEYS,
    'authz.rotate_key(uuid,text,jsonb,bigint)': OWN_KEYS,
    'authz.revoke_keys(uuid,text,text,text,bigint)': OWN_KEYS,
    'authz.touch_keys(uuid,jsonb)': OWN_KEYS,
    'authz.list_keys(uuid)': OWN_KEYS,
    'authz.insert_credential(uuid,jsonb)': OWN_KEYS,
    'authz.find_credential(uuid,text)': OWN_KEYS,
    'authz.replace_credential(uuid,text,integer,text,bigint)': OWN_KEYS,
    'authz.revoke_credential(uuid,text,bigint)': OWN_KEYS,
    'authz.list_credentials(uuid)': OWN_KEYS,
  },
};
