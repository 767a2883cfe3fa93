/** The main job of the ledger, played by members of two organisations on their real bank statements. */
import { readFileSync } from 'node:fs';
import { type ImportedLine, importStatement } from '../bank-import.ts';
import { approveEntry, postEntry, readEntry } from '../entries.ts';
import type { Ledger } from '../ledger.ts';
import type { SeededOrg } from '../provision.ts';
import { type Session, signIn } from '../session.ts';
import { done, title } from './terminal.ts';

/** What the tour leaves behind for the attacks. */
export interface Toured {
  readonly org: SeededOrg;
  readonly bookkeeper: Session;
  readonly controller: Session;
  readonly auditor: Session;
  readonly entryIds: readonly string[];
}

/** Entries each organisation posts. */
const POSTED = 5;

/** Plays the tour for one organisation. */
export async function tour(ledger: Ledger, org: SeededOrg): Promise<Toured> {
  title(org.name);
  const [bookkeeper, controller, auditor] = await Promise.all(
    [org.bookkeeper, org.controller, org.auditor].map(({ userId }) => signIn(ledger, org.id, userId)),
  );
  if (!bookkeeper || !controller || !auditor) throw new Error('a member did not sign in');
  const csv = readFileSync(new URL(`../../data/${org.statement}`, import.meta.url), 'utf8');
  const lines = await importStatement(ledger, bookkeeper, org.statement, csv);
  done(
    `${bookkeeper.name} imports ${lines.length} bank lines`,
    `${org.statement}; counterparty and reference sealed`,
  );
  const entryIds: string[] = [];
  for (const line of lines.slice(0, POSTED)) entryIds.push(await post(ledger, bookkeeper, line));
  done(
    `${bookkeeper.name} posts ${entryIds.length} entries`,
    'memo and bank reference sealed for their cell',
  );
  const [first = '', second = ''] = entryIds;
  const entry = await readEntry(ledger, controller, first);
  done(
    `${controller.name} reads one`,
    `${money(entry.amountCents)}  “${entry.memo}”  ref ${entry.bankReference}`,
  );
  await approveEntry(ledger, controller, first, 'matches the purchase order and the delivery note');
  await approveEntry(ledger, controller, second, 'recurring, within budget');
  done(`${controller.name} approves two, with reasons`);
  const report = await ledger.audit.verify(org.id, {
    db: ledger.tenancy.forOrg(org.id, { actor: auditor.actor }),
  });
  if (!report.ok) throw new Error('the audit chain does not verify');
  done(
    `${auditor.name} verifies the audit chain`,
    `${report.checked} events, gap-free, head ${report.head.hash.slice(0, 12)}…`,
  );
  return { org, bookkeeper, controller, auditor, entryIds };
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
