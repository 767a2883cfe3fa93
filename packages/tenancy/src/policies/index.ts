/**
 * `@ringfence/tenancy/policies`: declares what each relation is to isolation, generates what isolates it, compares a
 * database with the declaration, and migrates a schema in use to it.
 *
 * @packageDocumentation
 */
export type {
  AggregateUse,
  Catalog,
  CatalogFunction,
  Column,
  Constraint,
  DefaultPrivilege,
  EventTrigger,
  Grant,
  Index,
  Policy,
  Publication,
  Relation,
  RelationKind,
  Role,
  Rule,
  Schema,
  Trigger,
  ViewRead,
} from '../catalog/catalog.ts';
export { readCatalog } from '../catalog/read-catalog.ts';
export { type ApplyMigrationOptions, applyMigration } from './apply-migration.ts';
export type { Backfill } from './backfill.ts';
export {
  checked,
  declareSchema,
  type Exception,
  type GlobalTableDeclaration,
  type OrgTableDeclaration,
  type Reference,
  type SchemaDeclaration,
  type SystemTableDeclaration,
  type TenancySchema,
  type Unclassified,
  type ViewDeclaration,
} from './declaration.ts';
export type { Difference, DifferenceKind, MigrationStep, Phase, StepLock } from './difference.ts';
export { type DifferenceOptions, differences } from './differences.ts';
export { migrationSteps } from './migration-steps.ts';
export { type OrgTable, orgTablePolicy } from './org-table-policy.ts';
export { type PolicySqlOptions, policyKyselyMigration, policySql } from './policy-sql.ts';
export type { TablePrivilege } from './table-policy.ts';
