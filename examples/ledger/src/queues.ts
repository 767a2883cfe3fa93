/** What the ledger's queues carry. Payloads lie in the queue in clear, so they hold ids and keys, never content. */
import { z } from 'zod';

/** Queue of bank statements to import. */
export const STATEMENT_IMPORT = 'statement.import';

/** Schema of each queue's payload: what a worker accepts of an authentic job. */
export const payloads = {
  [STATEMENT_IMPORT]: z.object({
    /** Row of the statement. */
    statement: z.uuid(),
    /** Name of the file, for the audit log. */
    file: z.string().max(200),
    /** Object that holds the statement, encrypted. */
    objectKey: z.string(),
    /** API key it was handed in with: its scope and its end count when the job runs. */
    key: z.string().optional(),
  }),
};

/** Payloads by queue. */
export type Queues = { readonly [Q in keyof typeof payloads]: z.infer<(typeof payloads)[Q]> };
