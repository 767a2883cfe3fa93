/** Every rule of the doctor, in the order of their ids. */
import { classificationRules, planRules } from './classification-rules.ts';
import { functionRules } from './function-rules.ts';
import { grantRules } from './grant-rules.ts';
import { keyRules } from './key-rules.ts';
import { objectGrantRules } from './object-grant-rules.ts';
import { policyShapeRules } from './policy-shape-rules.ts';
import { rlsRules } from './rls-rules.ts';
import { roleRules } from './role-rules.ts';
import type { Rule } from './rule.ts';
import { activityRules, serverRules } from './server-rules.ts';
import { viewRules } from './view-rules.ts';

/** All rules, by subject. */
export const RULES: readonly Rule[] = [
  ...rlsRules,
  ...policyShapeRules,
  ...grantRules,
  ...objectGrantRules,
  ...keyRules,
  ...viewRules,
  ...functionRules,
  ...roleRules,
  ...serverRules,
  ...activityRules,
  ...classificationRules,
  ...planRules,
];
