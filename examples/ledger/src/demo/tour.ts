/** The main job of the ledger, played by members of two organisations on their real bank statements. */
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { attachFile } from '../attachments.ts';
import { type ImportedLine, importStatement } from '../bank-import.ts';
import { approveEntry, postEntry, readEntry } from '../entries.ts';
import type { Ledger } from '../ledger.ts';
import { verifyLog } from '../log-access.ts';
import type { SeededMember, SeededOrg } from '../provision.ts';
import { reviewEntry, reviewsOf } from '../reviews.ts';
import { type Session, signIn } from '../session.ts';
import type { Authentication, IdentityProvider } from './identity-provider.ts';
import { done, title } from './terminal.ts';

/** What the tour leaves behind for the attacks. */
export interface Toured {
  readonly org: SeededOrg;
  /** Signs somebody in anew. */
  enter(who: SeededMember, how?: Authentication): Promise<Session>;
  readonly bookkeeper: Session;
  /** With a second factor. */
  readonly controller: Session;
  readonly auditor: Session;
  readonly entryIds: readonly string[];
  readonly attachmentId: string;
}

/** Entries each organisation posts. */
const POSTED = 5;

/** Plays the tour for one organisation. */
export async function tour(ledger: Ledger, provider: IdentityProvider, org: SeededOrg): Promise<Toured> {
  title(org.name);
  const enter = async ({ subject }: SeededMember, how?: Authentication) =>
    await signIn(ledger, org.id, await provider.tokenFor(subject, how));
  const [bookkeeper, controller, reviewer, auditor] = await Promise.all([
    enter(org.bookkeeper),
    enter(org.controller, { mfa: true }),
    enter(org.reviewer),
    enter(org.auditor),
  ]);
  done(`${org.bookkeeper.name} and three others sign in`, 'access tokens of an OpenID provider, verified');
  const csv = readFileSync(new URL(`../../data/${org.statement}`, import.meta.url), 'utf8');
  const lines = await importStatement(ledger, bookkeeper, org.statement, csv);
  done(
    `${org.bookkeeper.name} imports ${lines.length} bank lines`,
    `a job: ${org.statement} in its objects, encrypted; counterparty and reference sealed`,
  );
  const entryIds: string[] = [];
  for (const line of lines.slice(0, POSTED)) entryIds.push(await post(ledger, bookkeeper, line));
  done(
    `${org.bookkeeper.name} posts ${entryIds.length} entries`,
    'memo and bank reference sealed for their cell',
  );
  const [first = '', second = ''] = entryIds;
  const receipt = Readable.from(Buffer.from(`receipt of ${org.name}\n`.repeat(1_000)));
  const attachmentId = await attachFile(ledger, bookkeeper, first, 'receipt.txt', receipt);
  done(
    `${org.bookkeeper.name} attaches a receipt`,
    'encrypted while it is sent; no connection held meanwhile',
  );
  await reviewEntry(ledger, reviewer, second, 'same vendor and amount as last month');
  const entry = await readEntry(ledger, controller, first);
  done(
    `${org.controller.name} reads one`,
    `${money(entry.amountCents)}  “${entry.memo}”  ref ${entry.bankReference}`,
  );
  const [review] = await reviewsOf(ledger, controller, second);
  done(`${org.reviewer.name} reviews another`, `“${review?.note}”`);
  await approveEntry(ledger, controller, first, 'matches the purchase order and the delivery note');
  await approveEntry(ledger, controller, second, 'recurring, within budget');
  done(`${org.controller.name} approves two, with reasons`, 'signed in with a second factor, a moment ago');
  const report = await verifyLog(ledger, auditor);
  if (!report.ok) throw new Error('the audit chain does not verify');
  done(
    `${org.auditor.name} verifies the audit chain`,
    `${report.checked} events, gap-free, head ${report.head.hash.slice(0, 12)}…`,
  );
  return { org, enter, bookkeeper, controller, auditor, entryIds, attachmentId };
}

async function post(ledger: Ledger, session: Session, line: ImportedLine): Promise<string> {
  const out = line.amountCents < 0;
  return await postEntry(ledger, session, {
    bankLineId: line.id,
    bookedOn: line.bookedOn,
    debit: out ? '6000 Expenses' : '1000 Bank',
    credit: out ? '1000 Bank' : '4000 Income',
    amountCents: Math.abs(line.amountCents),
    memo: `${line.counterparty}: ${line.description}`,
    bankReference: line.reference,
  });
}

function money(cents: number): string {
  return `$${(cents / 100).toLocaleString('en-US', { minimumFractionDigits: 2 })}`;
}
