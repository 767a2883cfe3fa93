/**
 * Every known way around the guards, as app role, owner and superuser: what refuses it, and what finds it when nothing
 * does. docs/audit-guards.md shows what this test has seen; `UPDATE_DOCS=1` writes it anew.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { auditDoctor } from '../src/doctor/index.ts';
import { parseOrgId } from '../src/index.ts';
import { type Fixture, fixture } from './fixture.ts';
import { BYPASSES, type Met, type Role } from './guards/bypasses.ts';
import { executorOf, play, type Stage } from './guards/play.ts';

const PAGE = fileURLToPath(new URL('../../../docs/audit-guards.md', import.meta.url));
const ROLES: readonly Role[] = ['app', 'owner', 'superuser'];
const ORG = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');

let f: Fixture;
let urls: Readonly<Record<Role, string>>;
let stage: Omit<Stage, 'client'>;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
  for (let index = 1; index <= 8; index++) {
    const data = { amount: `${index}.00` };
    await f.append(ORG, f.audit.prepare('entry.posted', { target: `e${index}`, outcome: 'success', data }));
  }
  const { head } = await f.inOrg(ORG, (trx) => f.audit.verify(trx, ORG));
  expect(head.seq).toBe(8);
  const { owner, app, appUrl, ownerUrl, superuserUrl } = f.database;
  const leaf = createHash('sha256').update('\u0000{}').digest('hex');
  stage = { audit: f.audit, org: ORG, kept: head, names: { org: ORG, owner, app, 'leaf of empty': leaf } };
  urls = { app: appUrl, owner: ownerUrl, superuser: superuserUrl };
});

afterAll(() => f.close());

/** A session for each: a plan made under a rule that does nothing depends on nothing, and outlives the rule. */
async function connected<T>(role: Role, run: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: urls[role] });
  client.on('error', () => {});
  await client.connect();
  try {
    return await run(client);
  } finally {
    await client.end();
  }
}

/** A refusal by a right or by a guard; anything else would be a way that was played wrongly. */
const REFUSALS = ['42501', '22023'];
const met = new Map<string, Partial<Record<Role, Met>>>();
const named = new Map<string, readonly string[]>();

for (const role of ROLES) {
  test.each(BYPASSES)(`as the ${role}: $name`, async (bypass) => {
    const seen = await connected(role, async (client) => {
      const then = async () => {
        const { findings } = await auditDoctor(executorOf(client), {
          appRole: f.database.app,
          checkpointerRole: f.database.keys,
          copierRole: f.database.queue,
        });
        const rules = findings.map(({ rule }) => rule).filter((rule) => rule !== 'durability-off');
        named.set(bypass.name, [...new Set(rules)]);
      };
      return await play({ ...stage, client }, bypass, { then });
    });
    const error = seen.error as { readonly code?: string; readonly message?: string } | undefined;
    expect(seen.met, error?.message).toBe(bypass.meets[role]);
    if (seen.met === 'refused') expect(REFUSALS, error?.message).toContain(error?.code);
    met.set(bypass.name, { ...met.get(bypass.name), [role]: seen.met });
  });
}

test.each(BYPASSES)('as the app, going on behind each refusal: $name', async (bypass) => {
  const seen = await connected('app', (client) => play({ ...stage, client }, bypass, { goOn: true }));
  // What is left of some is one honest call of audit.append.
  const appends = bypass.sql.some((statement) => statement.includes('audit.append('));
  expect(appends ? ['future only', 'no effect'] : ['no effect']).toContain(seen.met);
});

/** Writes a section of the page when asked to, and compares. */
function same(section: string, text: string): void {
  const page = readFileSync(PAGE, 'utf8');
  const [begin, end] = [`<!-- ${section} -->\n`, `\n<!-- end of ${section} -->`];
  const [from, to] = [page.indexOf(begin) + begin.length, page.indexOf(end)];
  expect(page, section).toContain(begin);
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(PAGE, page.slice(0, from) + text + page.slice(to));
  else expect(page.slice(from, to)).toBe(text);
}

test('docs/audit-guards.md shows what was seen', () => {
  const rows = BYPASSES.map(({ name }) => {
    const cells = ROLES.map((role) => met.get(name)?.[role] ?? '');
    const rules = (named.get(name) ?? []).map((rule) => `\`${rule}\``).join(', ');
    return `| ${[name, ...cells, rules === '' ? '–' : rules].join(' | ')} |`;
  });
  const head =
    '| way | app role | owner | superuser | what the doctor names while it lasts |\n|---|---|---|---|---|';
  same('ways', [head, ...rows].join('\n'));
  const refused = (role: Role) => BYPASSES.filter(({ meets }) => meets[role] === 'refused').length;
  const total = BYPASSES.length;
  same(
    'score',
    `**${total} ways: ${refused('app')} refused to the app role, ${refused('owner')} to the owner, ${refused('superuser')} to a superuser.**`,
  );
  expect(refused('app')).toBe(total);
});
