/**
 * The doctor of the audit log: which guards are missing or weakened, and the SQL that mends them.
 *
 * @packageDocumentation
 */
export { type AuditDoctorOptions, type AuditDoctorReport, auditDoctor } from './doctor.ts';
export type { DoctorFinding, DoctorLevel, Hit } from './rule.ts';
export { formatAuditDoctor } from './text-report.ts';
