/**
 * Differences around the relations: the app role itself, schemas, functions, publications, rights of objects yet to be
 * made. Each is a way past a correct policy.
 */
import { isFixedPath, searchPathOf } from '../catalog/search-path.ts';
import { setOffBy } from '../catalog/set-off.ts';
import { identifier } from '../identifier.ts';
import { type CatalogView, grantsText, quoted, quotedFunction, reaching } from './catalog-view.ts';
import { type Difference, ownStep } from './difference.ts';
import { PACKAGE_SCHEMA } from './other-relations.ts';

/** The one function of this package that runs with its owner's rights: it reads the keys and answers only its caller's context. */
const PACKAGE_DEFINERS: readonly string[] = ['tenancy.org_id()'];

/** Compares the app role: a login with no right but those granted to it by name. */
export function roleDifferences({ schema, catalog }: CatalogView): Difference[] {
  const { appRole } = schema;
  const object = `role ${appRole}`;
  const app = identifier(appRole);
  const role = catalog.roles.find(({ name }) => name === appRole);
  if (role === undefined) {
    return [{ kind: 'app_role', relation: object, expected: 'a role', found: 'no such role', mend: [] }];
  }
  const found: Difference[] = [];
  const attributes = [
    ['superuser', role.superuser, 'nosuperuser'],
    ['bypassrls', role.bypassRls, 'nobypassrls'],
    ['replication', role.replication, 'noreplication'],
    ['createrole', role.createRole, 'nocreaterole'],
  ] as const;
  for (const [attribute, has, without] of attributes) {
    if (!has) continue;
    const step = ownStep(
      'surroundings',
      object,
      'row-level security binds the app role',
      [`alter role ${app} ${without};`],
      'none',
    );
    found.push({ kind: 'app_role', relation: object, expected: without, found: attribute, mend: [step] });
  }
  for (const group of role.memberOf) {
    const step = ownStep(
      'surroundings',
      object,
      'the app role has no rights but its own',
      [`revoke ${quoted(group)} from ${app};`],
      'none',
    );
    found.push({
      kind: 'app_role',
      relation: object,
      expected: 'member of no role',
      found: `member of ${group}`,
      mend: [step],
    });
  }
  const owned = [
    ...(catalog.databaseOwner === appRole ? [`database ${catalog.database}`] : []),
    ...catalog.schemas.filter(({ owner }) => owner === appRole).map(({ name }) => `schema ${name}`),
    ...catalog.relations.filter(({ owner }) => owner === appRole).map(({ name }) => name),
  ];
  for (const relation of owned) {
    found.push({
      kind: 'owner',
      relation,
      expected: 'another owner than the app role',
      found: `owned by ${appRole}`,
      mend: [],
    });
  }
  return found;
}

/** Compares rights on schemas and on the database. */
export function schemaDifferences({ schema, catalog }: CatalogView): Difference[] {
  const app = identifier(schema.appRole);
  const found: Difference[] = [];
  const used = usedSchemas(schema);
  for (const { name, grants } of catalog.schemas) {
    const relation = `schema ${name}`;
    const grant = `grant usage on schema ${quoted(name)} to ${app};`;
    const reached = reaching(grants, schema.appRole);
    const create = reached.filter(({ privilege, grantable }) => privilege === 'create' || grantable);
    if (create.length > 0) {
      const sql = [`revoke all on schema ${quoted(name)} from public, ${app};`];
      if (reached.some(({ privilege }) => privilege === 'usage')) sql.push(grant);
      const step = ownStep('surroundings', relation, 'the app role makes no objects', sql, 'none');
      found.push({
        kind: 'schema_grants',
        relation,
        expected: 'usage only',
        found: grantsText(create),
        mend: [step],
      });
    }
    if (used.has(name) && !reached.some(({ privilege }) => privilege === 'usage')) {
      const step = ownStep('surroundings', relation, 'the app role reaches its tables', [grant], 'none');
      found.push({
        kind: 'schema_grants',
        relation,
        expected: `usage to ${schema.appRole}`,
        found: grantsText(reached),
        mend: [step],
      });
    }
  }
  const relation = `database ${catalog.database}`;
  const create = reaching(catalog.databaseGrants, schema.appRole).filter(
    ({ privilege }) => privilege === 'create',
  );
  if (create.length > 0) {
    const sql = `revoke create on database ${quoted(catalog.database)} from public, ${app};`;
    const step = ownStep('surroundings', relation, 'the app role makes no schemas', [sql], 'none');
    found.push({
      kind: 'database_grants',
      relation,
      expected: 'no create',
      found: grantsText(create),
      mend: [step],
    });
  }
  return found;
}

/** Schemas with something the app role may use. */
export function usedSchemas(schema: CatalogView['schema']): ReadonlySet<string> {
  const system = [...schema.system]
    .filter(([, { privileges }]) => privileges.length > 0)
    .map(([name]) => name);
  const names = [...schema.org.keys(), ...schema.global.keys(), ...schema.views.keys(), ...system];
  return new Set([...names.map((name) => name.split('.')[0] ?? ''), PACKAGE_SCHEMA]);
}

/** Compares functions that run with their owner's rights: reached by a call, or set off by a trigger or an aggregate. */
export function functionDifferences(view: CatalogView): Difference[] {
  const { schema, catalog } = view;
  const app = identifier(schema.appRole);
  const found: Difference[] = [];
  const { functions: setOff } = setOffBy(catalog, (grants) => reaching(grants, schema.appRole).length > 0);
  for (const fn of catalog.functions) {
    if (!fn.securityDefiner) continue;
    const callers = reaching(fn.grants, schema.appRole);
    const by = setOff.get(fn.name);
    if (callers.length === 0 && by === undefined) continue;
    const relation = `function ${fn.name}`;
    if (!schema.definerFunctions.has(fn.name) && !PACKAGE_DEFINERS.includes(fn.name)) {
      const step = ownStep(
        'surroundings',
        relation,
        'the app role borrows no rights',
        [`revoke execute on routine ${quotedFunction(fn)} from public, ${app};`],
        'none',
      );
      found.push({
        kind: 'definer_function',
        relation,
        expected: 'declared in definerFunctions, or out of reach',
        found: callers.length === 0 ? `set off by ${by}` : grantsText(callers),
        mend: callers.length === 0 ? [] : [step],
      });
    }
    const path = searchPathOf(fn.settings);
    if (path === undefined || !isFixedPath(path)) {
      const step = ownStep(
        'surroundings',
        relation,
        'its caller does not choose what its names mean',
        [`alter routine ${quotedFunction(fn)} set search_path = pg_catalog, pg_temp;`],
        'none',
      );
      found.push({
        kind: 'search_path',
        relation,
        expected: 'a fixed search_path with pg_temp last',
        found: path === undefined ? 'no search_path of its own' : `search_path=${path}`,
        // A body that relies on its path would break: only the owner of the function knows.
        mend: path === 'pg_catalog' ? [step] : [],
      });
    }
  }
  if (
    !catalog.functions.some(
      ({ name, returns, volatility }) =>
        name === 'tenancy.org_id()' && returns === 'uuid' && volatility === 'stable',
    )
  ) {
    found.push({
      kind: 'context_function',
      relation: 'function tenancy.org_id()',
      expected: 'the stable function of tenancyMigrations',
      found: 'no such function',
      mend: [],
    });
  }
  return found;
}

/** Compares publications. */
export function publicationDifferences({ schema, catalog }: CatalogView): Difference[] {
  return catalog.publications
    .filter(({ name }) => !schema.publications.has(name))
    .map(({ name, allTables, relations, schemas }) => ({
      kind: 'publication' as const,
      relation: `publication ${name}`,
      expected: 'declared in publications',
      found: allTables
        ? 'all tables'
        : [...relations, ...schemas.map((one) => `all of ${one}`)].join(', ') || 'no table yet',
      // Somebody reads the stream: dropping it is not for a program.
      mend: [],
    }));
}

/** What PostgreSQL gives to PUBLIC without any entry; an entry for all schemas spells it out. */
const BUILT_IN: Readonly<Partial<Record<string, string>>> = { function: 'execute', type: 'usage' };

/** Compares the rights that objects yet to be made will carry. */
export function defaultPrivilegeDifferences({ schema, catalog }: CatalogView): Difference[] {
  const app = identifier(schema.appRole);
  const found: Difference[] = [];
  for (const { role, schema: of, objectType, grants } of catalog.defaultPrivileges) {
    const reached = reaching(grants, schema.appRole).filter(
      ({ grantee, privilege }) =>
        !(grantee === 'public' && of === null && BUILT_IN[objectType] === privilege),
    );
    if (reached.length === 0) continue;
    const where = of === null ? '' : ` in schema ${quoted(of)}`;
    const relation = `default privileges of ${role}${of === null ? '' : ` in ${of}`}`;
    const from = [...new Set(reached.map(({ grantee }) => (grantee === 'public' ? 'public' : app)))].join(
      ', ',
    );
    const sql = `alter default privileges for role ${quoted(role)}${where} revoke all on ${objectType}s from ${from};`;
    found.push({
      kind: 'default_privileges',
      relation,
      expected: `nothing on ${objectType}s`,
      found: grantsText(reached),
      mend: [ownStep('surroundings', relation, 'what is made later is not reached unseen', [sql], 'none')],
    });
  }
  return found;
}
