/**
 * A loopback gRPC server built from the service definition inside the official package: Encrypt, Decrypt and GetCryptoKey
 * of google.cloud.kms.v1 with real AES-256-GCM, key versions, rotation, states, additional authenticated data and CRC-32C
 * both ways. The checksum is computed bit by bit here, not with the code under test.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import * as grpc from '@grpc/grpc-js';
import { GrpcClient } from 'google-gax';
import type { ServerFault } from './kms-faults.ts';

type VersionState = 'ENABLED' | 'DISABLED' | 'DESTROY_SCHEDULED' | 'DESTROYED';

interface ServerKey {
  readonly name: string;
  readonly versions: { readonly material: Buffer; state: VersionState }[];
}

/** Faults only this protocol knows. */
export type GcpFault =
  | ServerFault
  | 'wrong_crc'
  | 'missing_crc'
  | 'plaintext_unverified'
  | 'context_unverified';

type Fields = Record<string, unknown>;

class StatusError extends Error {
  readonly code: grpc.status;

  constructor(code: grpc.status, message: string) {
    super(message);
    this.code = code;
  }
}

/** A Cloud KMS of one key ring. */
export class GcpKmsServer {
  readonly requests: { readonly method: string; readonly request: Fields; readonly routing: string }[] = [];
  /** Played on every request until it is cleared. */
  fault: GcpFault | undefined;
  /** A status that answers every request until it is cleared. */
  status: { readonly code: grpc.status; readonly message: string } | undefined;
  readonly #keys = new Map<string, ServerKey>();
  readonly #server = new grpc.Server();

  async listen(): Promise<number> {
    this.#server.addService(serviceDefinition(), {
      encrypt: this.#handler('encrypt', (request) => this.#encrypt(request)),
      decrypt: this.#handler('decrypt', (request) => this.#decrypt(request)),
      getCryptoKey: this.#handler('getCryptoKey', (request) => this.#get(request)),
    });
    return await new Promise((resolve, reject) => {
      this.#server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      );
    });
  }

  close(): void {
    this.#server.forceShutdown();
  }

  /** Makes a key with one version and gives its resource name. */
  createKey(): string {
    const name = `projects/customer-1/locations/europe-west3/keyRings/saas/cryptoKeys/k${randomBytes(6).toString('hex')}`;
    this.#keys.set(name, { name, versions: [] });
    this.rotate(name);
    return name;
  }

  /** Makes a new version the primary one. */
  rotate(name: string): void {
    this.#key(name).versions.push({ material: randomBytes(32), state: 'ENABLED' });
  }

  /** Sets the state of every version of a key. */
  setState(name: string, state: VersionState): void {
    for (const version of this.#key(name).versions) version.state = state;
  }

  /** Forgets a key, as a name that never existed. */
  remove(name: string): void {
    this.#keys.delete(name);
  }

  #key(name: unknown): ServerKey {
    const key = this.#keys.get(String(name));
    if (key === undefined)
      throw new StatusError(grpc.status.NOT_FOUND, `CryptoKey ${String(name)} not found.`);
    return key;
  }

  #handler(
    method: string,
    answer: (request: Fields) => Fields,
  ): grpc.handleUnaryCall<Fields, Fields | Buffer> {
    return (call, callback) => {
      const routing = String(call.metadata.get('x-goog-request-params')[0] ?? '');
      this.requests.push({ method, request: call.request, routing });
      try {
        if (this.status !== undefined) throw new StatusError(this.status.code, this.status.message);
        if (this.fault === 'timeout') return;
        const broken = this.#broken();
        callback(null, broken ?? this.#spoil(method, answer(call.request)));
      } catch (error) {
        if (!(error instanceof StatusError)) throw error;
        callback({ code: error.code, details: error.message });
      }
    };
  }

  #broken(): Buffer | undefined {
    switch (this.fault) {
      case 'throttled':
        throw new StatusError(grpc.status.RESOURCE_EXHAUSTED, 'Quota exceeded');
      case 'server_error':
        throw new StatusError(grpc.status.INTERNAL, 'Internal error');
      case 'denied':
        throw new StatusError(grpc.status.PERMISSION_DENIED, "Permission 'useToDecrypt' denied");
      case 'malformed':
        return Buffer.from('<html>a captive portal</html>');
      default:
        return undefined;
    }
  }

  #spoil(method: string, answer: Fields): Fields {
    const bytes = method === 'decrypt' ? 'plaintext' : 'ciphertext';
    const crc = `${bytes}Crc32c`;
    const exchanged = (value: Buffer): Fields => ({
      ...answer,
      [bytes]: value,
      [crc]: { value: checksum(value) },
    });
    switch (this.fault) {
      case 'missing_fields':
        return {};
      case 'short_key':
        return exchanged(randomBytes(31));
      case 'other_org_key':
        return exchanged(randomBytes(32));
      case 'truncated':
        return { ...answer, [bytes]: (answer[bytes] as Buffer).subarray(1) };
      case 'wrong_crc':
        return { ...answer, [crc]: { value: 1 } };
      case 'missing_crc':
        return { ...answer, [crc]: null };
      case 'wrong_key_named':
        return { ...answer, name: `${String(answer['name']).replace(/cryptoKeys\/./, 'cryptoKeys/x')}` };
      case 'plaintext_unverified':
        return { ...answer, verifiedPlaintextCrc32c: false };
      case 'context_unverified':
        return { ...answer, verifiedAdditionalAuthenticatedDataCrc32c: false };
      default:
        return answer;
    }
  }

  #encrypt(request: Fields): Fields {
    const key = this.#key(request['name']);
    const number = key.versions.length;
    const { plaintext, aad } = this.#input(request, 'plaintext');
    const material = usable(key, number);
    const iv = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', material, iv).setAAD(aad);
    const body = Buffer.concat([cipher.update(plaintext), cipher.final()]);
    const ciphertext = Buffer.concat([Buffer.of(number), iv, cipher.getAuthTag(), body]);
    return {
      name: `${key.name}/cryptoKeyVersions/${number}`,
      ciphertext,
      ciphertextCrc32c: { value: checksum(ciphertext) },
      verifiedPlaintextCrc32c: true,
      verifiedAdditionalAuthenticatedDataCrc32c: true,
    };
  }

  #decrypt(request: Fields): Fields {
    const key = this.#key(request['name']);
    const { plaintext: ciphertext, aad } = this.#input(request, 'ciphertext');
    const invalid = new StatusError(
      grpc.status.INVALID_ARGUMENT,
      "Decryption failed: verify that 'name' refers to the correct CryptoKey.",
    );
    const number = ciphertext[0] ?? 0;
    if (ciphertext.length < 29 || key.versions[number - 1] === undefined) throw invalid;
    const material = usable(key, number);
    const decipher = createDecipheriv('aes-256-gcm', material, ciphertext.subarray(1, 13));
    decipher.setAAD(aad).setAuthTag(ciphertext.subarray(13, 29));
    try {
      const plaintext = Buffer.concat([decipher.update(ciphertext.subarray(29)), decipher.final()]);
      return { plaintext, plaintextCrc32c: { value: checksum(plaintext) }, usedPrimary: true };
    } catch {
      throw invalid;
    }
  }

  #get(request: Fields): Fields {
    const key = this.#key(request['name']);
    const number = key.versions.length;
    const primary = {
      name: `${key.name}/cryptoKeyVersions/${number}`,
      state: key.versions[number - 1]?.state,
    };
    return { name: key.name, primary };
  }

  #input(request: Fields, field: string): { plaintext: Buffer; aad: Buffer } {
    const plaintext = Buffer.from(request[field] as Uint8Array);
    const aad = Buffer.from(request['additionalAuthenticatedData'] as Uint8Array);
    for (const [name, bytes] of [
      [field, plaintext],
      ['additionalAuthenticatedData', aad],
    ] as const) {
      const sent = (request[`${name}Crc32c`] as { value?: unknown } | null)?.value;
      if (String(sent) !== String(checksum(bytes))) {
        throw new StatusError(
          grpc.status.INVALID_ARGUMENT,
          `The checksum in field ${name}_crc32c did not match`,
        );
      }
    }
    return { plaintext, aad };
  }
}

function usable(key: ServerKey, number: number): Buffer {
  const version = key.versions[number - 1];
  if (version?.state !== 'ENABLED') {
    throw new StatusError(
      grpc.status.FAILED_PRECONDITION,
      `${key.name}/cryptoKeyVersions/${number} is not enabled, current state is: ${String(version?.state)}.`,
    );
  }
  return version.material;
}

/** CRC-32C bit by bit, as RFC 3720 defines it. */
export function checksum(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

/** The official definition; a Buffer given as an answer goes out as it is, so that nonsense can be sent. */
function serviceDefinition(): grpc.ServiceDefinition {
  const json = createRequire(import.meta.url)('@google-cloud/kms/build/protos/protos.json') as object;
  const loaded = new GrpcClient().loadProtoJSON(json) as unknown as {
    google: { cloud: { kms: { v1: { KeyManagementService: { service: grpc.ServiceDefinition } } } } };
  };
  const { service } = loaded.google.cloud.kms.v1.KeyManagementService;
  const methods = Object.entries(service).map(([name, method]) => {
    const responseSerialize = (value: unknown): Buffer =>
      Buffer.isBuffer(value) ? value : method.responseSerialize(value);
    return [name, { ...method, responseSerialize }] as const;
  });
  return Object.fromEntries(methods);
}
