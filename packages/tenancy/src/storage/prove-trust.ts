/**
 * The part of the proof about who may have a session: the application alone, for one organisation named by a tag, with no
 * other tag. Assuming a role with tags needs both actions under the same request tags.
 */
import type { OrgId } from '../org-id.ts';
import type { StorageDocuments } from './documents.ts';
import { accessEvaluator } from './evaluate-access.ts';
import type { IsolationFinding } from './prove-isolation.ts';

type Tags = Readonly<Record<string, string>>;

/** Tries to assume the role as the application and as others. */
export function proveTrust(
  documents: StorageDocuments,
  orgs: readonly OrgId[],
): { readonly findings: readonly IsolationFinding[]; readonly pairs: number } {
  const { appArn, roleArn, sessionTags, trustPolicy } = documents;
  const decide = accessEvaluator({ identity: [], resource: trustPolicy });
  const findings: IsolationFinding[] = [];
  let pairs = 0;
  const attempt = (principal: string, tags: Tags, expected: boolean, session?: string) => {
    const keys = Object.keys(tags);
    const context = {
      ...Object.fromEntries(Object.entries(tags).map(([key, value]) => [`aws:RequestTag/${key}`, value])),
      ...(keys.length === 0 ? {} : { 'aws:TagKeys': keys }),
    };
    const by = session === undefined ? {} : { session };
    const actions = keys.length === 0 ? ['sts:AssumeRole'] : ['sts:AssumeRole', 'sts:TagSession'];
    const allowed = actions.every(
      (action) => decide({ action, resource: roleArn, principal, ...by, context }).allowed,
    );
    pairs += 1;
    if (allowed === expected) return;
    findings.push({
      fault: expected ? 'refused_own' : 'no_org',
      layer: 'trust policy',
      caller: principal,
      action: 'sts:AssumeRole',
      target: JSON.stringify(tags),
    });
  };
  for (const org of orgs) {
    const tags: Tags = sessionTags ? { org_id: org } : {};
    attempt(appArn, tags, true);
    for (const stranger of [`${appArn}-2`, roleArn, 'anonymous']) attempt(stranger, tags, false);
    if (!sessionTags) {
      // Servers without session tags count a session among the identity that assumed it as well as among its role.
      attempt(appArn, tags, false, roleArn);
      continue;
    }
    attempt(appArn, {}, false);
    attempt(appArn, { org_id: '' }, false);
    attempt(appArn, { org_id: '*' }, false);
    attempt(appArn, { org_id: `${org}0` }, false);
    attempt(appArn, { other: org }, false);
    attempt(appArn, { org_id: org, role: 'admin' }, false);
  }
  return { findings, pairs };
}
