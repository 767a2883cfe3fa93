/**
 * A loopback HTTPS server that speaks the Key Vault REST protocol for keys: 401 challenge without a token, wrapkey and
 * unwrapkey with real RSA-OAEP-256, key versions and rotation, get key, deleted keys, and the error bodies Key Vault
 * documents. As on Azure, a disabled key refuses unwrapping; whether it still wraps is a switch.
 */
import { execFileSync } from 'node:child_process';
import {
  constants,
  generateKeyPairSync,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { portOf, type ServerFault, trackSockets } from './kms-faults.ts';

type KeyState = 'enabled' | 'disabled' | 'deleted' | 'purged';

interface ServerKey {
  readonly name: string;
  state: KeyState;
  readonly versions: Map<string, { readonly publicKey: KeyObject; readonly privateKey: KeyObject }>;
}

/** A certificate for 127.0.0.1 with its key, PEM. */
export interface TestCertificate {
  readonly cert: string;
  readonly key: string;
}

/** Makes a self-signed certificate; undefined where openssl is missing. */
export function makeCertificate(): TestCertificate | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'vault-cert-'));
  try {
    execFileSync(
      'openssl',
      [
        ...'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=vault'.split(' '),
        ...['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', 'key.pem', '-out', 'cert.pem'],
      ],
      { cwd: folder, stdio: 'ignore' },
    );
    return {
      cert: readFileSync(join(folder, 'cert.pem'), 'utf8'),
      key: readFileSync(join(folder, 'key.pem'), 'utf8'),
    };
  } catch {
    return undefined;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

class VaultError extends Error {
  readonly status: number;
  readonly body: object;

  constructor(status: number, code: string, message: string, inner?: string) {
    super(message);
    this.status = status;
    const innererror = inner === undefined ? {} : { innererror: { code: inner } };
    this.body = { error: { code, message, ...innererror } };
  }
}

/** One request as the server saw it. */
export interface VaultRequest {
  readonly method: string;
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly authorized: boolean;
}

/** One vault. */
export class AzureKeyVaultServer {
  readonly requests: VaultRequest[] = [];
  /** Played on every authorized request until it is cleared. */
  fault: ServerFault | undefined;
  /** An error body that answers every authorized request until it is cleared. */
  error: { readonly status: number; readonly code: string; readonly inner?: string } | undefined;
  /** Whether a disabled key still wraps, as seen on the live service. */
  disabledStillWraps = true;
  /** Resource the challenge names. */
  challengeResource = 'https://vault.azure.net';
  url = '';
  readonly #keys = new Map<string, ServerKey>();
  readonly #server: Server;
  readonly #dropSockets: () => void;

  constructor(certificate: TestCertificate) {
    this.#server = createServer(
      { ...certificate },
      (request, response) => void this.#serve(request, response),
    );
    this.#dropSockets = trackSockets(this.#server);
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.url = `https://127.0.0.1:${portOf(this.#server)}`;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#dropSockets();
    await closed;
  }

  /** Makes a key with one version and gives its name. */
  createKey(): string {
    const name = `k${randomBytes(6).toString('hex')}`;
    this.#keys.set(name, { name, state: 'enabled', versions: new Map() });
    this.rotate(name);
    return name;
  }

  /** Makes a new version, which becomes the newest, and gives its id. */
  rotate(name: string): string {
    const version = randomBytes(16).toString('hex');
    this.#key(name).versions.set(version, generateKeyPairSync('rsa', { modulusLength: 2048 }));
    return version;
  }

  setState(name: string, state: KeyState): void {
    this.#key(name).state = state;
  }

  versionsOf(name: string): string[] {
    return [...this.#key(name).versions.keys()];
  }

  #key(name: string): ServerKey {
    const key = this.#keys.get(name);
    if (key === undefined) throw notFound(name);
    return key;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = await textOf(request);
    const path = new URL(request.url ?? '/', this.url).pathname;
    const authorized = request.headers.authorization === 'Bearer good-token';
    const body = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>;
    this.requests.push({ method: request.method ?? '', path, body, authorized });
    response.setHeader('content-type', 'application/json; charset=utf-8');
    response.setHeader('x-ms-request-id', `ms-${this.requests.length}`);
    try {
      if (!authorized) {
        const authority = 'https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555';
        response.setHeader(
          'www-authenticate',
          `Bearer authorization="${authority}", resource="${this.challengeResource}"`,
        );
        throw new VaultError(401, 'Unauthorized', 'AKV10000: Request is missing a Bearer or PoP token.');
      }
      if (this.error !== undefined) {
        throw new VaultError(this.error.status, this.error.code, 'as injected', this.error.inner);
      }
      if (this.#broken(response)) return;
      response.end(JSON.stringify(this.#spoil(this.#answer(request.method ?? '', path, body))));
    } catch (error) {
      if (!(error instanceof VaultError)) throw error;
      response.statusCode = error.status;
      response.end(JSON.stringify(error.body));
    }
  }

  #broken(response: ServerResponse): boolean {
    switch (this.fault) {
      case 'throttled':
        throw new VaultError(
          429,
          'Throttled',
          'Request was not processed because too many requests were received.',
        );
      case 'server_error':
        throw new VaultError(500, 'InternalServerError', 'An unexpected error occurred.');
      case 'denied':
        throw new VaultError(
          403,
          'Forbidden',
          'Caller is not authorized to perform action.',
          'ForbiddenByRbac',
        );
      case 'refused_unknown':
        throw new VaultError(418, 'SomethingNew', 'unheard of');
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
        response.write('{"kid":"https:');
        response.socket?.destroySoon();
        return true;
      default:
        return false;
    }
  }

  #spoil(answer: Record<string, unknown>): Record<string, unknown> {
    switch (this.fault) {
      case 'missing_fields':
        return { kid: answer['kid'] };
      case 'short_key':
        return { ...answer, value: randomBytes(31).toString('base64url') };
      case 'other_org_key':
        return { ...answer, value: randomBytes(32).toString('base64url') };
      case 'wrong_key_named':
        return {
          ...answer,
          kid: String(answer['kid']).replace(/keys\/./, 'keys/x'),
          key: { kid: `${this.url}/keys/x/${'0'.repeat(32)}` },
        };
      default:
        return answer;
    }
  }

  #answer(method: string, path: string, body: Record<string, unknown>): Record<string, unknown> {
    const [, collection = '', name = '', version = '', operation = ''] = path.split('/');
    const key = this.#key(name);
    if (collection === 'deletedkeys') {
      if (key.state !== 'deleted') throw notFound(name);
      return { key: { kid: `${this.url}/keys/${name}` }, attributes: {} };
    }
    if (key.state === 'deleted' || key.state === 'purged') throw notFound(name);
    const used = version === '' ? [...key.versions.keys()].at(-1) : version;
    const pair = key.versions.get(used ?? '');
    if (pair === undefined) throw notFound(`${name}/${used}`);
    const kid = `${this.url}/keys/${name}/${used}`;
    if (method === 'GET') {
      const jwk = { ...pair.publicKey.export({ format: 'jwk' }), kid, key_ops: ['wrapKey', 'unwrapKey'] };
      return { key: jwk, attributes: { enabled: key.state === 'enabled' } };
    }
    if (key.state === 'disabled' && !(operation === 'wrapkey' && this.disabledStillWraps)) {
      throw new VaultError(
        403,
        'Forbidden',
        `Operation ${operation} is not allowed on a disabled key.`,
        'KeyDisabled',
      );
    }
    if (body['alg'] !== 'RSA-OAEP-256')
      throw new VaultError(400, 'BadParameter', 'Algorithm is not supported.');
    const value = Buffer.from(String(body['value']), 'base64url');
    const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' };
    if (operation === 'wrapkey') {
      return { kid, value: publicEncrypt({ key: pair.publicKey, ...oaep }, value).toString('base64url') };
    }
    try {
      return { kid, value: privateDecrypt({ key: pair.privateKey, ...oaep }, value).toString('base64url') };
    } catch {
      throw new VaultError(400, 'BadParameter', 'The parameter is incorrect.');
    }
  }
}

function notFound(name: string): VaultError {
  return new VaultError(404, 'KeyNotFound', `A key with (name/id) ${name} was not found in this key vault.`);
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
