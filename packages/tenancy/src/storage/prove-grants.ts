/**
 * Proves the scopes of S3 Access Grants: a grant's scope is the location's scope and the sub-prefix put together, `*` at
 * the end being a prefix match. Every key of the matrix must be in the scope of its own organisation's grant and in no
 * other. What Access Grants itself does with a scope is AWS's; no server here speaks it.
 */
import { type OrgId, parseOrgId } from '../org-id.ts';
import type { AccessGrantsDocuments } from './access-grants.ts';
import { ADVERSARIAL_ORGS, matrixKeys } from './isolation-matrix.ts';
import type { IsolationFinding, IsolationReport } from './prove-isolation.ts';

/**
 * Tries the keys of the matrix against the scope of each organisation's grant.
 *
 * @throws TypeError when the location is not one bucket's.
 */
export function proveGrants(
  documents: Pick<AccessGrantsDocuments, 'location' | 'grant'>,
  orgs: readonly OrgId[] = ADVERSARIAL_ORGS,
): IsolationReport {
  const findings: Omit<IsolationFinding, 'layer'>[] = [];
  const [bucketScope] = /^s3:\/\/[a-z0-9.-]+\//.exec(documents.location.LocationScope) ?? [];
  if (bucketScope === undefined) throw new TypeError('LocationScope: expected s3://<bucket>/…');
  let pairs = 0;
  for (const org of orgs.map(parseOrgId)) {
    const { AccessGrantsLocationConfiguration } = documents.grant(org, 'grantee', 'READWRITE');
    const scope = documents.location.LocationScope + AccessGrantsLocationConfiguration.S3SubPrefix;
    for (const { key, own, required } of matrixKeys(org, orgs)) {
      pairs += 1;
      const path = bucketScope + key;
      const within = scope.endsWith('*') ? path.startsWith(scope.slice(0, -1)) : path === scope;
      if (within && !own) findings.push({ fault: 'cross_org', caller: org, action: 'grant', target: key });
      if (!within && required)
        findings.push({ fault: 'refused_own', caller: org, action: 'grant', target: key });
    }
  }
  return {
    findings: findings.map((found) => ({ ...found, layer: 'access grant' })),
    pairs,
    decisions: pairs,
  };
}
