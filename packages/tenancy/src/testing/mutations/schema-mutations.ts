/** The faults that any declared schema can have. */
import {
  declarationMutations,
  functionMutations,
  replicationMutations,
  viewMutations,
} from './code-mutations.ts';
import type { SchemaMutation } from './mutation.ts';
import { grantMutations, roleMutations } from './right-mutations.ts';
import { keyMutations, policyMutations, rlsMutations } from './table-mutations.ts';

/** All of them, in the order of the layers. */
export const schemaMutations: readonly SchemaMutation[] = [
  ...rlsMutations,
  ...policyMutations,
  ...keyMutations,
  ...grantMutations,
  ...roleMutations,
  ...viewMutations,
  ...functionMutations,
  ...replicationMutations,
  ...declarationMutations,
];
