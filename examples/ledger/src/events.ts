/** What the ledger writes to its audit log. Memo and bank reference never enter it: they stay sealed in their rows. */
import { defineEvents } from '@ringfence/audit';
import { z } from 'zod';

/** SHA-256 in lower-case hex. */
const digest = z.string().regex(/^[0-9a-f]{64}$/);

/** Roles of the policy. */
const roles = z.array(z.string());

/** Name of a file a member gave. */
const file = z.string().max(200);

export const events = defineEvents({
  'statement.received': { target: 'statement', data: z.object({ file }) },
  'statement.imported': {
    target: 'statement',
    data: z.object({ file, lines: z.number().int(), sha256: digest, job: z.uuid() }),
  },
  'statement.refused': { target: 'statement', data: z.object({ file, code: z.string(), job: z.uuid() }) },
  'statement.read': { target: 'statement', data: z.object({ lines: z.number().int() }) },
  'entry.read': { target: 'entry' },
  'entry.searched': { data: z.object({ found: z.number().int() }) },
  'entry.posted': {
    target: 'entry',
    data: z.object({ debit: z.string(), credit: z.string(), amountCents: z.number().int() }),
  },
  'entry.reviewed': { target: 'entry', data: z.object({ review: z.string() }) },
  'entry.approved': { target: 'entry', data: z.object({ amountCents: z.number().int() }) },
  'attachment.added': { target: 'attachment', data: z.object({ entry: z.string() }) },
  'attachment.read': { target: 'attachment' },
  'keys.moved': { data: z.object({ from: z.string(), to: z.string() }) },
  'keys.shredded': { data: z.object({ wrapsDestroyed: z.number().int(), certificate: digest }) },
  'job.refused': { target: 'job', data: z.object({ queue: z.string(), code: z.string() }) },
  'access.denied': { target: 'request', data: z.object({ action: z.string(), code: z.string() }) },
  'session.opened': { data: z.object({ issuer: z.string(), mfa: z.boolean() }) },
  'session.refused': {
    data: z.object({ code: z.string(), issuer: z.string(), subject: digest, attempts: z.number().int() }),
  },
  'member.roles_given': { target: 'member' },
  'settings.changed': { target: 'org' },
  'api_key.created': {
    target: 'api_key',
    data: z.object({ name: z.string(), roles, actions: z.array(z.string()), expiresAt: z.iso.datetime() }),
  },
  'api_key.revoked': { target: 'api_key' },
  'api_key.refused': {
    target: 'api_key',
    data: z.object({
      code: z.string(),
      reason: z.string(),
      attempts: z.number().int(),
      firstAt: z.iso.datetime(),
      lastAt: z.iso.datetime(),
    }),
  },
  'audit_log.read': { data: z.object({ events: z.number().int() }) },
  'audit_log.verified': { data: z.object({ events: z.number().int(), ok: z.boolean() }) },
});
