/**
 * A loopback server that speaks the AWS JSON 1.1 protocol of KMS (TrentService.Encrypt, Decrypt, DescribeKey) with real
 * AES-256-GCM, key states, encryption contexts bound as additional data, Regions taken from the signing scope, and
 * multi-Region replicas that share key material. Signatures are not checked. Error texts are those AWS documents.
 */
import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { portOf, type ServerFault, trackSockets } from './kms-faults.ts';

type KeyState = 'Enabled' | 'Disabled' | 'PendingDeletion' | 'PendingImport' | 'Unavailable';

interface ServerKey {
  readonly arn: string;
  readonly id: string;
  readonly material: Buffer;
  state: KeyState;
}

/** One request as the server saw it. */
export interface AwsKmsRequest {
  readonly operation: string;
  readonly region: string;
  readonly body: Readonly<Record<string, unknown>>;
}

class AwsError extends Error {
  readonly status: number;
  readonly type: string;

  constructor(type: string, message: string, status = 400) {
    super(message);
    this.type = type;
    this.status = status;
  }
}

/** A KMS of account 111122223333. */
export class AwsKmsServer {
  readonly requests: AwsKmsRequest[] = [];
  /** Played on every request until it is cleared. */
  fault: ServerFault | undefined;
  /** How many of the next requests are throttled, whatever they ask. */
  throttleNext = 0;
  /** An exception of this name answers every request until it is cleared. */
  exception: { readonly type: string; readonly message?: string; readonly status?: number } | undefined;
  readonly #keys = new Map<string, ServerKey>();
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  readonly #dropSockets = trackSockets(this.#server);

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${portOf(this.#server)}`;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#dropSockets();
    await closed;
  }

  /** Makes a key and gives its ARN. */
  createKey(region: string, multiRegion = false): string {
    const id = multiRegion ? `mrk-${randomBytes(16).toString('hex')}` : randomUUID();
    return this.#put(region, id, randomBytes(32));
  }

  /** Makes a replica of a multi-Region key in another Region and gives its ARN. */
  replicate(arn: string, region: string): string {
    const primary = this.#key(arn);
    return this.#put(region, primary.id, primary.material);
  }

  setState(arn: string, state: KeyState): void {
    this.#key(arn).state = state;
  }

  destroy(arn: string): void {
    this.#keys.delete(arn);
  }

  #put(region: string, id: string, material: Buffer): string {
    const arn = `arn:aws:kms:${region}:111122223333:key/${id}`;
    this.#keys.set(arn, { arn, id, material, state: 'Enabled' });
    return arn;
  }

  #key(arn: unknown): ServerKey {
    const key = this.#keys.get(String(arn));
    if (key === undefined) throw new AwsError('NotFoundException', `Key '${String(arn)}' does not exist`);
    return key;
  }

  #usable(arn: unknown, region: string): ServerKey {
    const key = this.#key(arn);
    if (!key.arn.startsWith(`arn:aws:kms:${region}:`)) {
      throw new AwsError('NotFoundException', `Invalid arn ${region}`);
    }
    if (key.state === 'Disabled') throw new AwsError('DisabledException', `${key.arn} is disabled.`);
    const words = key.state.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase();
    if (key.state !== 'Enabled') throw new AwsError('KMSInvalidStateException', `${key.arn} is ${words}.`);
    return key;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = JSON.parse(await textOf(request)) as Record<string, unknown>;
    const operation = String(request.headers['x-amz-target']).replace('TrentService.', '');
    const region =
      /Credential=[^/]+\/\d+\/([^/]+)\/kms\//.exec(request.headers.authorization ?? '')?.[1] ?? '';
    this.requests.push({ operation, region, body });
    response.setHeader('x-amzn-requestid', `req-${this.requests.length}`);
    response.setHeader('content-type', 'application/x-amz-json-1.1');
    try {
      if (this.exception !== undefined) {
        const { type, message = 'as injected', status = 400 } = this.exception;
        throw new AwsError(type, message, status);
      }
      if (this.throttleNext > 0) {
        this.throttleNext -= 1;
        throw new AwsError('ThrottlingException', 'Rate exceeded');
      }
      if (this.#broken(response)) return;
      const answer = this.#spoil(this.#answer(operation, region, body), operation);
      response.end(JSON.stringify(answer));
    } catch (error) {
      if (!(error instanceof AwsError)) throw error;
      response.statusCode = error.status;
      response.end(JSON.stringify({ __type: error.type, message: error.message }));
    }
  }

  /** Faults that give no answer of the protocol; true when the request is dealt with. */
  #broken(response: ServerResponse): boolean {
    switch (this.fault) {
      case 'throttled':
        throw new AwsError('ThrottlingException', 'Rate exceeded');
      case 'server_error':
        throw new AwsError('KMSInternalException', 'internal', 500);
      case 'denied':
        throw new AwsError('AccessDeniedException', 'not authorized to perform: kms:Decrypt');
      case 'refused_unknown':
        throw new AwsError('SomethingNewException', 'unheard of');
      case 'timeout':
        return true;
      case 'gateway_page':
        response.statusCode = 502;
        response.setHeader('content-type', 'text/html');
        response.end('<html>bad gateway</html>');
        return true;
      case 'malformed':
        response.end('<html>a captive portal</html>');
        return true;
      case 'truncated':
        response.setHeader('content-length', '500');
        response.write('{"Plaintext":"AAAA');
        response.socket?.destroySoon();
        return true;
      default:
        return false;
    }
  }

  /** Faults inside a proper answer. */
  #spoil(answer: Record<string, unknown>, operation: string): Record<string, unknown> {
    const bytes = operation === 'Decrypt' ? 'Plaintext' : 'CiphertextBlob';
    switch (this.fault) {
      case 'missing_fields':
        return { KeyId: answer['KeyId'] };
      case 'short_key':
        return { ...answer, [bytes]: randomBytes(31).toString('base64') };
      case 'wrong_key_named':
        return { ...answer, KeyId: `arn:aws:kms:eu-central-1:111122223333:key/${randomUUID()}` };
      case 'other_org_key':
        return { ...answer, [bytes]: randomBytes(32).toString('base64') };
      default:
        return answer;
    }
  }

  #answer(operation: string, region: string, body: Record<string, unknown>): Record<string, unknown> {
    const context = additionalData(body['EncryptionContext']);
    switch (operation) {
      case 'Encrypt': {
        const key = this.#usable(body['KeyId'], region);
        const iv = randomBytes(12);
        const cipher = createCipheriv('aes-256-gcm', key.material, iv).setAAD(context);
        const ciphertext = Buffer.concat([
          cipher.update(Buffer.from(String(body['Plaintext']), 'base64')),
          cipher.final(),
        ]);
        const id = Buffer.from(key.id.padEnd(40));
        const blob = Buffer.concat([id, iv, cipher.getAuthTag(), ciphertext]);
        return { KeyId: key.arn, CiphertextBlob: blob.toString('base64') };
      }
      case 'Decrypt': {
        const key = this.#usable(body['KeyId'], region);
        const blob = Buffer.from(String(body['CiphertextBlob']), 'base64');
        if (blob.subarray(0, 40).toString().trimEnd() !== key.id) {
          throw new AwsError('IncorrectKeyException', 'The key ID in the request does not identify a CMK');
        }
        const decipher = createDecipheriv('aes-256-gcm', key.material, blob.subarray(40, 52));
        decipher.setAAD(context).setAuthTag(blob.subarray(52, 68));
        try {
          const plaintext = Buffer.concat([decipher.update(blob.subarray(68)), decipher.final()]);
          return { KeyId: key.arn, Plaintext: plaintext.toString('base64') };
        } catch {
          throw new AwsError('InvalidCiphertextException', '');
        }
      }
      case 'DescribeKey': {
        const key = this.#key(body['KeyId']);
        return { KeyMetadata: { Arn: key.arn, KeyId: key.id, KeyState: key.state } };
      }
      default:
        throw new AwsError('UnknownOperationException', '');
    }
  }
}

function additionalData(context: unknown): Buffer {
  const entries = Object.entries((context ?? {}) as Record<string, string>);
  return Buffer.from(JSON.stringify(entries.sort(([a], [b]) => (a < b ? -1 : 1))));
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
