/**
 * The process that asks Cedar. Its WebAssembly module can abort the process it runs in, so it gets one of its own. One
 * message is one policy with its requests, one answer holds the validator's findings and the decisions.
 */
import * as cedar from '@cedar-policy/cedar-wasm/nodejs';
import type { CedarAnswer, CedarQuestion, CedarReply } from './cedar-process.ts';

function reply({ schema, policies, requests }: CedarQuestion): CedarReply {
  const findings = failed(cedar.preparsePolicySet('policies', { staticPolicies: { ...policies } }));
  findings.push(...failed(cedar.preparseSchema('schema', schema)));
  if (findings.length > 0) return { findings, answers: [] };
  const validation = cedar.validate({ schema, policies: { staticPolicies: { ...policies } } });
  findings.push(...failed(validation));
  if (validation.type === 'success') {
    findings.push(
      ...validation.validationErrors.map(({ policyId, error }) => `${policyId}: ${error.message}`),
    );
  }
  const answers = requests.map((request): CedarAnswer => {
    const answer = cedar.statefulIsAuthorized({
      ...(request as unknown as cedar.AuthorizationCall),
      preparsedPolicySetId: 'policies',
      preparsedSchemaName: 'schema',
      validateRequest: true,
    });
    if (answer.type === 'failure') return { decision: 'refused', reason: [], errors: failed(answer) };
    const { decision, diagnostics } = answer.response;
    return {
      decision,
      reason: diagnostics.reason.sort(),
      errors: diagnostics.errors.map(({ policyId, error }) => `${policyId}: ${error.message}`),
    };
  });
  return { findings, answers };
}

function failed(answer: {
  readonly type: string;
  readonly errors?: readonly { readonly message: string }[];
}) {
  return answer.type === 'failure' ? (answer.errors ?? []).map(({ message }) => message) : [];
}

process.on('message', (question: CedarQuestion) => {
  process.send?.(reply(question));
});
