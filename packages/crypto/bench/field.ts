/** What the field cases measure: leased keys of a fresh organisation, and raw node AES-256-GCM as the limit. */
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes, randomFillSync } from 'node:crypto';
import { createKeyring, parseOrgId } from '../src/index.ts';
import { localKms } from '../src/local/index.ts';
import type { OrgKeys } from '../src/org-keys.ts';
import { memoryKeyStore } from '../src/testing/index.ts';

const ORG = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
/** Name of the limit. */
export const LIMIT: string = 'node-gcm';
const GCM = { authTagLength: 16 } as const;

/** Leases keys of a fresh organisation. */
export async function benchKeys(): Promise<OrgKeys> {
  const kms = localKms({ keks: { bench: randomBytes(32) } });
  const keyring = createKeyring({
    app: 'bench',
    kms: [kms],
    store: memoryKeyStore(),
    kekFor: () => 'local:bench',
  });
  await keyring.createOrg(ORG);
  return keyring.org(ORG);
}

/** Raw node AES-256-GCM as fast as it goes: the limit. */
export function rawGcm(): { seal(plaintext: Uint8Array): Buffer; open(message: Uint8Array): Buffer } {
  const key = createSecretKey(randomBytes(32));
  const pool = Buffer.alloc(8184);
  let next = pool.length;
  return {
    seal(plaintext) {
      if (next >= pool.length) {
        randomFillSync(pool);
        next = 0;
      }
      const nonce = pool.subarray(next, next + 12);
      next += 12;
      const cipher = createCipheriv('aes-256-gcm', key, nonce, GCM);
      const body = cipher.update(plaintext);
      cipher.final();
      return Buffer.concat([nonce, body, cipher.getAuthTag()]);
    },
    open(message) {
      const decipher = createDecipheriv('aes-256-gcm', key, message.subarray(0, 12), GCM);
      decipher.setAuthTag(message.subarray(message.length - 16));
      const body = decipher.update(message.subarray(12, message.length - 16));
      decipher.final();
      return body;
    },
  };
}
