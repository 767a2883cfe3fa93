/** `@ringfence/authz/cedar`: the policy and its requests in the language and the JSON of Cedar. */
export { type CedarPolicy, cedarPolicy } from './policy.ts';
export {
  type CedarEntity,
  type CedarEntityName,
  type CedarRequest,
  type CedarValue,
  cedarRequest,
} from './request.ts';
