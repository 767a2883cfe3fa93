/** What the ledger writes to its audit log. Memo and bank reference never enter it: they stay sealed in their rows. */
import { defineEvents } from '@ringfence/audit';
import { z } from 'zod';

/** SHA-256 in lower-case hex. */
const digest = z.string().regex(/^[0-9a-f]{64}$/);

export const events = defineEvents({
  'statement.imported': {
    target: 'statement',
    data: z.object({ file: z.string().max(200), lines: z.number().int(), sha256: digest }),
  },
  'entry.read': { target: 'entry' },
  'entry.searched': { data: z.object({ found: z.number().int() }) },
  'entry.posted': {
    target: 'entry',
    data: z.object({ debit: z.string(), credit: z.string(), amountCents: z.number().int() }),
  },
  'entry.approved': { target: 'entry', data: z.object({ amountCents: z.number().int() }) },
  'attachment.added': { target: 'attachment', data: z.object({ entry: z.string() }) },
  'attachment.read': { target: 'attachment' },
  'keys.moved': { data: z.object({ from: z.string(), to: z.string() }) },
  'keys.shredded': { data: z.object({ wrapsDestroyed: z.number().int(), certificate: digest }) },
  'access.denied': { target: 'request', data: z.object({ action: z.string(), code: z.string() }) },
});
