/** The audit log as members see it: whoever may read or verify it does, and that they did is in the log. */
import type { ChainReport } from '@ringfence/audit';
import { type AuditPage, listEvents, type PageRequest } from '@ringfence/audit/query';
import { decide, guardedWithoutKeys } from './guarded.ts';
import type { Ledger } from './ledger.ts';
import type { Session } from './session.ts';

/** A page of the organisation's log, newest first. */
export async function readLog(ledger: Ledger, session: Session, wanted: PageRequest): Promise<AuditPage> {
  const { org } = session;
  return await guardedWithoutKeys(ledger, session, async ({ db, authorize, record }) => {
    authorize('auditLog.read', { id: org });
    const page = await listEvents(db, org, wanted);
    await record('audit_log.read', { outcome: 'success', data: { events: page.events.length } });
    return page;
  });
}

/** Verifies the chain of the organisation's log. No transaction is open while it does. */
export async function verifyLog(ledger: Ledger, session: Session): Promise<ChainReport> {
  const { org, principal } = session;
  await decide(ledger, session, 'auditLog.verify', { id: org });
  const report = await ledger.audit.verify(ledger.tenancy.forOrg(org, principal), org);
  await guardedWithoutKeys(ledger, session, async ({ authorize, record }) => {
    authorize('auditLog.verify', { id: org });
    const data = { events: report.checked, ok: report.ok };
    await record('audit_log.verified', { outcome: 'success', data });
  });
  return report;
}
