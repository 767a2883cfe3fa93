/** Every fault, for the doctor's tests and for the score of how many are caught, and by how many layers. */
import {
  activityMutations,
  declarationMutations,
  functionMutations,
  replicationMutations,
  viewMutations,
} from './code-mutations.ts';
import type { Mutation } from './mutation.ts';
import { grantMutations, roleMutations } from './right-mutations.ts';
import { sharedMutations } from './shared-mutations.ts';
import { keyMutations, policyMutations, rlsMutations } from './table-mutations.ts';

/** All mutations of the golden schema. */
export const MUTATIONS: readonly Mutation[] = [
  ...sharedMutations,
  ...rlsMutations,
  ...policyMutations,
  ...keyMutations,
  ...grantMutations,
  ...roleMutations,
  ...viewMutations,
  ...functionMutations,
  ...replicationMutations,
  ...activityMutations,
  ...declarationMutations,
];
