/** The one error of a log whose stored history is not the signed one: nothing of it is made permanent. */
import { RingfenceAuditError } from '../errors.ts';
import type { OrgId } from '../org-id.ts';

/** `audit.history_changed` for a log that is not copied. */
export function notCopied(org: OrgId, detail: string): RingfenceAuditError {
  return new RingfenceAuditError('audit.history_changed', `log ${org} is not copied: ${detail}`);
}
