/**
 * Who may do what, played by the members of one organisation: a denial that says why, a step-up, an API key of the bank
 * feed, what such a key cannot do, and a session that is revoked while it is in use. Every refusal is in the audit log.
 */
import { AuthzStepUpRequiredError, stepUpChallenge, stepUpParameters } from '@ringfence/authz';
import type { Secret } from '@ringfence/authz/keys';
import { BANK_FEED, createKey } from '../api-keys.ts';
import { enqueueImport, imported, statementLines } from '../bank-import.ts';
import { approveEntry, readEntry } from '../entries.ts';
import type { Ledger } from '../ledger.ts';
import { readLog } from '../log-access.ts';
import { giveRoles } from '../members.ts';
import { MFA_ACR } from '../policy.ts';
import { enterWithKey, type Session } from '../session.ts';
import type { IdentityProvider } from './identity-provider.ts';
import { NOT_STOPPED, type Outcome, type Scene } from './scene.ts';
import type { Toured } from './tour.ts';

/** What the scenes work on. */
export interface AccessStage {
  readonly ledger: Ledger;
  readonly provider: IdentityProvider;
  readonly toured: Toured;
  /** The entry that is to be approved. */
  readonly entry: string;
  /** Codes of the refusals so far. */
  readonly refusals: string[];
  /** What the step-up asked for. */
  challenged: AuthzStepUpRequiredError | undefined;
  /** The key of the bank feed. */
  feed: Secret | undefined;
}

/** Sets the stage after the tour. */
export function accessStage(on: Pick<AccessStage, 'ledger' | 'provider' | 'toured'>): AccessStage {
  const entry = on.toured.entryIds.at(-1) ?? '';
  return { ...on, entry, refusals: [], challenged: undefined, feed: undefined };
}

/** Ends with the code of the refusal that an operation must end with; `answer` says what of it is shown. */
async function refused(
  { refusals }: AccessStage,
  run: () => Promise<unknown>,
  answer: (error: Error) => string = ({ message }) => message,
): Promise<Outcome> {
  try {
    await run();
  } catch (error) {
    const { code = 'no code' } = error as { readonly code?: string };
    refusals.push(code);
    return { stopped: true, code, answer: answer(error as Error) };
  }
  return { stopped: false, code: NOT_STOPPED, answer: 'it went through' };
}

const approve = ({ ledger, entry }: AccessStage, session: Session) =>
  approveEntry(ledger, session, entry, 'matches the contract');

const explainedDenial = (stage: AccessStage) => refused(stage, () => approve(stage, stage.toured.bookkeeper));

async function stepUp(stage: AccessStage): Promise<Outcome> {
  const { enter, org } = stage.toured;
  const session = await enter(org.controller);
  return await refused(
    stage,
    () => approve(stage, session),
    (error) => {
      if (!(error instanceof AuthzStepUpRequiredError)) return error.message;
      stage.challenged = error;
      return `${error.message}; the answer is 401 and ${stepUpChallenge(error.decision)}`;
    },
  );
}

/** Signs in as the challenge asked, and not stronger. */
async function stepped(stage: AccessStage): Promise<Outcome> {
  const { ledger, challenged, toured, entry } = stage;
  if (challenged === undefined) throw new Error('nobody was asked to step up');
  const { acr_values = '', max_age } = stepUpParameters(challenged.decision.stepUp);
  await approve(stage, await toured.enter(toured.org.controller, { mfa: acr_values.includes(MFA_ACR) }));
  const { status } = await readEntry(ledger, toured.controller, entry);
  const answer = `acr_values=${acr_values}${max_age === undefined ? '' : `, max_age=${max_age}`}: ${status}`;
  return { stopped: status === 'approved', code: status, answer };
}

const owner = ({ toured }: AccessStage) => toured.enter(toured.org.owner, { mfa: true });

/** The key is shown once, to whoever made it; here it goes straight to the bank's side. */
async function bankFeed(stage: AccessStage): Promise<Outcome> {
  const { ledger, toured } = stage;
  const { key, id } = await createKey(ledger, await owner(stage), BANK_FEED);
  stage.feed = key;
  const session = await enterWithKey(ledger, key.reveal());
  const csv = `booking_date,bank_transaction_id,counterparty,description,reference,amount,balance,currency
2026-04-01,FEED-${id},Staples,Paper,PO-77,-12.30,100.00,USD`;
  const statement = await enqueueImport(ledger, session, 'feed.csv', csv);
  await imported(ledger, session, statement);
  const lines = await statementLines(ledger, toured.bookkeeper, statement);
  const answer = `key ${id}, shown as ${String(key)}: ${lines.length} line, imported by a job with the key's rights`;
  return { stopped: lines.length === 1, code: 'imported', answer };
}

async function withFeed({ ledger, feed }: AccessStage): Promise<Session> {
  if (feed === undefined) throw new Error('there is no key');
  return await enterWithKey(ledger, feed.reveal());
}

async function keyReads(stage: AccessStage): Promise<Outcome> {
  const session = await withFeed(stage);
  return await refused(stage, () => readEntry(stage.ledger, session, stage.entry));
}

async function keyBeyondCreator(stage: AccessStage): Promise<Outcome> {
  const session = await owner(stage);
  const beyond = { ...BANK_FEED, roles: ['controller'], actions: ['entry.approve'] } as const;
  return await refused(stage, () => createKey(stage.ledger, session, beyond));
}

/** The role goes to somebody else first: nobody takes it from themselves. The key stays as it is. */
async function keyOutlivesRight(stage: AccessStage): Promise<Outcome> {
  const { ledger, toured } = stage;
  const { org, enter } = toured;
  await giveRoles(ledger, await owner(stage), org.reviewer.userId, ['owner']);
  await giveRoles(ledger, await enter(org.reviewer, { mfa: true }), org.owner.userId, ['auditor']);
  const session = await withFeed(stage);
  return await refused(stage, () => enqueueImport(ledger, session, 'late.csv', ''));
}

/** What a provider does by back-channel logout when somebody signs out, or is signed out. */
async function revokedSession(stage: AccessStage): Promise<Outcome> {
  const { ledger, provider, toured, entry } = stage;
  const sessionId = `session-of-${toured.org.bookkeeper.subject}`;
  const session = await toured.enter(toured.org.bookkeeper, { sessionId });
  await readEntry(ledger, session, entry); // goes through, so that only the revocation can be what stops the next
  await ledger.identity.revocations.revokeSession(provider.issuer.issuer, sessionId);
  return await refused(stage, () => readEntry(ledger, session, entry));
}

async function everyRefusalIsRecorded({ ledger, toured, refusals }: AccessStage): Promise<Outcome> {
  const { events } = await readLog(ledger, toured.auditor, { action: 'access.denied' });
  const codes = events.map(({ data }) => (data as { readonly code?: string }).code).reverse();
  const complete = codes.join() === refusals.join();
  return {
    stopped: complete,
    code: complete ? 'recorded' : NOT_STOPPED,
    answer: `${codes.length} of ${refusals.length} refusals, in order, each with its reason`,
  };
}

/** The scenes in order, each with the code it must end with. */
export const access: readonly Scene<AccessStage>[] = [
  { name: 'The bookkeeper asks to approve an entry', expected: 'authz.denied', run: explainedDenial },
  {
    name: 'The controller approves it, signed in with a password alone',
    expected: 'authz.step_up_required',
    run: stepUp,
  },
  { name: 'They sign in as they were asked to, and approve it', expected: 'approved', run: stepped },
  {
    name: 'The owner makes an API key for the bank feed, and it is used',
    expected: 'imported',
    run: bankFeed,
  },
  { name: 'The key asks to read an entry', expected: 'authz.denied', run: keyReads },
  {
    name: 'The owner, who may not approve, makes a key that may',
    expected: 'authz.ceiling_exceeded',
    run: keyBeyondCreator,
  },
  {
    name: 'The owner hands over and is an auditor now; their key is used again',
    expected: 'authz.denied',
    run: keyOutlivesRight,
  },
  {
    name: 'A session is revoked while it is in use',
    expected: 'authz.session_refused',
    run: revokedSession,
  },
  { name: 'Every refusal of these is in the audit log', expected: 'recorded', run: everyRefusalIsRecorded },
];
