/** A fixture with a catalogue that has personal parts, and keys of data subjects that a test can break. */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { type Audit, createAudit, type DataSchema, defineEvents, type OrgId } from '../src/index.ts';
import { createPersonalAudit, type PersonalAudit, type SubjectSealer } from '../src/personal/index.ts';
import { type Fixture, fixture } from './fixture.ts';

export const personalEvents: {
  readonly 'member.invited': {
    readonly target: 'member';
    readonly data: DataSchema<{ email: string; role: string; ip?: string | undefined }>;
    readonly personal: readonly ['data.email', 'data.ip', 'changes.iban', 'note'];
  };
  readonly 'consent.given': {
    readonly data: DataSchema<{ answer: boolean }>;
    readonly personal: readonly ['data.answer'];
  };
  readonly 'login.succeeded': Record<never, never>;
} = defineEvents({
  'member.invited': {
    target: 'member',
    data: z.object({ email: z.string(), role: z.string(), ip: z.string().optional() }),
    personal: ['data.email', 'data.ip', 'changes.iban', 'note'],
  },
  'consent.given': { data: z.object({ answer: z.boolean() }), personal: ['data.answer'] },
  'login.succeeded': {},
});

/** AES-256-GCM under one random key per subject, bound to all that the port names. */
export class TestSubjectSealer implements SubjectSealer {
  readonly keys: Map<string, Uint8Array | 'destroyed'> = new Map();
  destructions = 0;
  /** Thrown by the next `erase`, once the key is gone. */
  failAfterDestruction: Error | undefined;

  async seal(...[org, subject, plaintext, cell]: Parameters<SubjectSealer['seal']>): Promise<Uint8Array> {
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', this.#key(org, subject), nonce);
    cipher.setAAD(Buffer.from(JSON.stringify([org, subject, cell])));
    return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  }

  async open(...[org, subject, sealed, cell]: Parameters<SubjectSealer['open']>): Promise<Uint8Array> {
    const decipher = createDecipheriv('aes-256-gcm', this.#key(org, subject), sealed.subarray(0, 12));
    decipher.setAAD(Buffer.from(JSON.stringify([org, subject, cell])));
    decipher.setAuthTag(sealed.subarray(-16));
    return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
  }

  async erase(org: OrgId, subject: string): Promise<{ readonly digest: string }> {
    if (this.keys.get(org + subject) !== 'destroyed') this.destructions += 1;
    this.keys.set(org + subject, 'destroyed');
    const failure = this.failAfterDestruction;
    this.failAfterDestruction = undefined;
    if (failure !== undefined) throw failure;
    return { digest: createHash('sha256').update(`${org} ${subject}`).digest('hex') };
  }

  #key(org: OrgId, subject: string): Uint8Array {
    const key = this.keys.get(org + subject) ?? randomBytes(32);
    if (key === 'destroyed') throw new Error('the key of this subject was destroyed');
    this.keys.set(org + subject, key);
    return key;
  }
}

export interface PersonalFixture {
  readonly f: Fixture;
  readonly audit: Audit<typeof personalEvents>;
  readonly personal: PersonalAudit<typeof personalEvents>;
  readonly subjects: TestSubjectSealer;
  /** Appends an invitation of a subject and returns the id of its event. */
  invite(
    org: OrgId,
    subject: string,
    email: string,
    more?: { readonly note?: string; readonly ip?: string },
  ): Promise<string>;
  /** Erases a subject through a session that carries the context and is no transaction. */
  erase(org: OrgId, subject: string): ReturnType<PersonalAudit<typeof personalEvents>['erase']>;
}

export async function personalFixture(serverUrl: string): Promise<PersonalFixture> {
  const f = await fixture(serverUrl, 8);
  const audit = createAudit({ events: personalEvents, db: f.app });
  const subjects = new TestSubjectSealer();
  const personal = createPersonalAudit({ events: personalEvents, audit, subjects });
  return {
    f,
    audit,
    personal,
    subjects,
    invite: async (org, subject, email, { note, ip } = {}) => {
      const receipt = await personal.prepare(org, 'member.invited', {
        subject,
        target: 'm-1',
        outcome: 'success',
        note,
        data: { email, role: 'auditor', ip },
      });
      await f.append(org, receipt);
      return receipt.id;
    },
    erase: async (org, subject) =>
      await f.app.connection().execute(async (db) => {
        const set = (values: readonly [string, string][]) =>
          Promise.all(
            values.map(([name, value]) =>
              db.executeQuery({
                ...f.audit.prepare('login.succeeded', { outcome: 'success' }).query,
                sql: 'select set_config($1::text, $2::text, false)',
                parameters: [name, value],
              }),
            ),
          );
        await set([
          ['ringfence.org_id', org],
          ['ringfence.actor', 'user:dpo'],
        ]);
        try {
          return await personal.erase(db, org, subject);
        } finally {
          await set([
            ['ringfence.org_id', ''],
            ['ringfence.actor', ''],
          ]);
        }
      }),
  };
}
