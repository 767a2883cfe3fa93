/**
 * The peers of the field cases, each used as its own documentation says: the AWS Encryption SDK with its unsigned
 * committing suite and its caching materials manager, cloak, noble-ciphers, and WebCrypto. None binds a cell.
 */
import { randomBytes, webcrypto } from 'node:crypto';
import { loadPeer } from '../../../tools/bench/peer.ts';

/** A contender that seals and opens bytes. */
export interface Contender {
  /** Name in the JSON. */
  readonly name: string;
  /** Seals. */
  seal(plaintext: Uint8Array): unknown;
  /** Opens what `seal` resolved to. */
  open(message: unknown): unknown;
}

interface Esdk {
  readonly buildClient: (policy: unknown) => {
    encrypt(cmm: unknown, plaintext: Uint8Array, options: object): Promise<{ result: Buffer }>;
    decrypt(cmm: unknown, message: Buffer): Promise<{ plaintext: Buffer }>;
  };
  readonly CommitmentPolicy: Record<string, unknown>;
  readonly AlgorithmSuiteIdentifier: Record<string, unknown>;
  readonly RawAesWrappingSuiteIdentifier: Record<string, unknown>;
  readonly RawAesKeyringNode: new (options: object) => unknown;
  readonly NodeCachingMaterialsManager: new (options: object) => unknown;
  readonly getLocalCryptographicMaterialsCache: (size: number) => unknown;
}

const PEERS: Readonly<Record<string, () => Promise<Contender>>> = {
  'aws-esdk-cached': awsEsdk,
  cloak,
  'noble-ciphers': noble,
  webcrypto: web,
};

/** Names of all peers. */
export const peerNames: readonly string[] = Object.keys(PEERS);

/** One peer, ready. */
export async function peer(name: string): Promise<Contender> {
  const make = PEERS[name];
  if (make === undefined) throw new TypeError(`no peer ${name}`);
  return await make();
}

async function awsEsdk(): Promise<Contender> {
  const sdk = await loadPeer<Esdk>('@aws-crypto/client-node');
  const client = sdk.buildClient(sdk.CommitmentPolicy['REQUIRE_ENCRYPT_REQUIRE_DECRYPT']);
  const keyring = new sdk.RawAesKeyringNode({
    keyName: 'bench',
    keyNamespace: 'bench',
    unencryptedMasterKey: new Uint8Array(randomBytes(32)),
    wrappingSuite: sdk.RawAesWrappingSuiteIdentifier['AES256_GCM_IV12_TAG16_NO_PADDING'],
  });
  const cmm = new sdk.NodeCachingMaterialsManager({
    backingMaterials: keyring,
    cache: sdk.getLocalCryptographicMaterialsCache(1000),
    maxAge: 3_600_000,
  });
  const suiteId = sdk.AlgorithmSuiteIdentifier['ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY'];
  return {
    name: 'aws-esdk-cached',
    seal: async (plaintext) =>
      (
        await client.encrypt(cmm, plaintext, {
          suiteId,
          encryptionContext: { table: 'invoice' },
          plaintextLength: plaintext.length,
        })
      ).result,
    open: async (message) => (await client.decrypt(cmm, message as Buffer)).plaintext,
  };
}

interface Cloak {
  readonly generateKey: () => string;
  readonly parseKeySync?: (key: string) => unknown;
  readonly encryptStringSync: (text: string, key: string) => string;
  readonly decryptStringSync: (message: string, key: string) => string;
}

async function cloak(): Promise<Contender> {
  const lib = await loadPeer<Cloak>('@47ng/cloak');
  const key = lib.generateKey();
  return {
    name: 'cloak',
    seal: (plaintext) => lib.encryptStringSync(Buffer.from(plaintext).toString('latin1'), key),
    open: (message) => lib.decryptStringSync(message as string, key),
  };
}

interface NobleAes {
  readonly gcm: (
    key: Uint8Array,
    nonce: Uint8Array,
  ) => {
    encrypt(plaintext: Uint8Array): Uint8Array;
    decrypt(message: Uint8Array): Uint8Array;
  };
}

async function noble(): Promise<Contender> {
  const { gcm } = await loadPeer<NobleAes>('@noble/ciphers/aes.js');
  const key = new Uint8Array(randomBytes(32));
  return {
    name: 'noble-ciphers',
    seal: (plaintext) => {
      const nonce = new Uint8Array(randomBytes(12));
      return { nonce, body: gcm(key, nonce).encrypt(plaintext) };
    },
    open: (message) => {
      const { nonce, body } = message as { nonce: Uint8Array; body: Uint8Array };
      return gcm(key, nonce).decrypt(body);
    },
  };
}

async function web(): Promise<Contender> {
  const key = await webcrypto.subtle.importKey('raw', new Uint8Array(randomBytes(32)), 'AES-GCM', false, [
    'encrypt',
    'decrypt',
  ]);
  return {
    name: 'webcrypto',
    seal: async (plaintext) => {
      const iv = new Uint8Array(randomBytes(12));
      return {
        iv,
        body: await webcrypto.subtle.encrypt({ name: 'AES-GCM', iv }, key, new Uint8Array(plaintext)),
      };
    },
    open: async (message) => {
      const { iv, body } = message as { iv: Uint8Array<ArrayBuffer>; body: ArrayBuffer };
      return await webcrypto.subtle.decrypt({ name: 'AES-GCM', iv: new Uint8Array(iv) }, key, body);
    },
  };
}
