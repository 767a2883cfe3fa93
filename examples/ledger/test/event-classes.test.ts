/**
 * What a customer is promised to find in the audit log (L08), class by class: which events of the catalogue cover it, or
 * that the app has no such thing yet. An event that is added must be put into a class here, and be written by the app.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { events } from '../src/events.ts';

type EventName = keyof typeof events;

const NOT_IN_THE_APP_YET = 'not in the app yet';

const CLASSES: Readonly<Record<string, readonly EventName[] | typeof NOT_IN_THE_APP_YET>> = {
  logins: ['session.opened', 'session.refused'],
  'access attempts that were refused': ['access.denied', 'job.refused', 'api_key.refused'],
  'creation of entries and what they rest on': [
    'entry.posted',
    'statement.received',
    'statement.imported',
    'statement.refused',
    'attachment.added',
  ],
  'edits of entries': NOT_IN_THE_APP_YET, // an entry changes by being approved, and in no other way: `ledger.keep_entry()`
  'deletions of entries': NOT_IN_THE_APP_YET, // the app role has no DELETE
  approvals: ['entry.reviewed', 'entry.approved'],
  escalations: NOT_IN_THE_APP_YET,
  'rights, and what the organisation asks for': ['member.roles_given', 'settings.changed'],
  'credentials of integrations': ['api_key.created', 'api_key.revoked'], // each use is the request of its event: key:<id>
  'keys of the organisation': ['keys.moved', 'keys.shredded'],
  'reports and exports': NOT_IN_THE_APP_YET,
  'reading of what is confidential': ['entry.read', 'entry.searched', 'statement.read', 'attachment.read'],
  'reading of the log itself': ['audit_log.read', 'audit_log.verified'],
};

/** Text of the app without its catalogue; the scenes of the demo are not the app. */
const APP = readdirSync(new URL('../src/', import.meta.url), { withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name !== 'events.ts')
  .map(({ name }) => readFileSync(new URL(`../src/${name}`, import.meta.url), 'utf8'))
  .join('\n');

/** Keys are moved and shredded by their operator, whose commands are played by the demo. */
const OPERATOR = readFileSync(new URL('../src/demo/key-life.ts', import.meta.url), 'utf8');

test('every event of the catalogue covers one class, and every class names events of the catalogue', () => {
  const covering = Object.values(CLASSES).flatMap((names) => (typeof names === 'string' ? [] : names));
  expect([...covering].sort()).toEqual(Object.keys(events).sort());
});

test('every event of the catalogue is written somewhere', () => {
  const written = (name: string) =>
    APP.includes(`'${name}'`) || (name.startsWith('keys.') && OPERATOR.includes(`'${name}'`));
  expect(Object.keys(events).filter((name) => !written(name))).toEqual([]);
});
