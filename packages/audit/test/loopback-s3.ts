/**
 * An HTTP server on loopback that speaks the part of S3 the copy needs, with versions and locks in memory, and fails in
 * ways a real one cannot be made to. What the copy and a real server do together is tested on Ceph.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

export interface MemoryVersion {
  readonly id: string;
  readonly at: number;
  body: Buffer;
  readonly meta: string | undefined;
  mode: string | undefined;
  until: string | undefined;
  readonly marker: boolean;
}

/** What happens to one request: true when the fault has answered it. */
export type Fault = (request: S3Request, apply: () => void) => boolean;

export interface S3Request {
  readonly operation: 'put' | 'get' | 'list' | 'get-retention' | 'put-retention';
  readonly key: string;
  readonly response: ServerResponse;
}

export interface LoopbackS3 {
  readonly endpoint: string;
  /** Newest first. */
  readonly objects: Map<string, MemoryVersion[]>;
  /** Every request, in order. */
  readonly seen: string[];
  fault: Fault | undefined;
  /** False: no lock is kept, as where uploads lose their headers. */
  keepsLocks: boolean;
  /** False: `If-None-Match` is ignored. */
  conditional: boolean;
  /** False: the answer to a write names no version. */
  versioned: boolean;
  /** Checksum that is told of a write; undefined for the right one, null for none. */
  toldChecksum: string | null | undefined;
  pageSize: number;
  close(): Promise<void>;
}

export function failing(status: number, code: string): Fault {
  return ({ response }) => {
    error(response, status, code);
    return true;
  };
}

export async function loopbackS3(): Promise<LoopbackS3> {
  const state = {
    objects: new Map<string, MemoryVersion[]>(),
    seen: [] as string[],
    fault: undefined as Fault | undefined,
    keepsLocks: true,
    conditional: true,
    versioned: true,
    toldChecksum: undefined as string | null | undefined,
    pageSize: 1000,
  };
  let clock = Date.parse('2026-01-01T00:00:00Z');
  const handle = (request: IncomingMessage, response: ServerResponse, body: Buffer) => {
    const url = new URL(request.url ?? '', 'http://s3');
    const key = decodeURIComponent(url.pathname.replace(/^\/[^/]+\/?/, ''));
    const query = url.searchParams;
    const put = request.method === 'PUT';
    const operation = query.has('versions')
      ? 'list'
      : query.has('retention')
        ? put
          ? 'put-retention'
          : 'get-retention'
        : put
          ? 'put'
          : 'get';
    state.seen.push(`${operation} ${key}`);
    const versions = () => state.objects.get(key) ?? [];
    const version = versions().find(({ id }) => id === query.get('versionId'));
    const header = (name: string) => request.headers[name] as string | undefined;
    let created: MemoryVersion | undefined;
    const apply = () => {
      if (operation !== 'put') return;
      clock += 1000;
      created = {
        id: randomUUID(),
        at: clock,
        body,
        meta: header('x-amz-meta-retain-until-ms'),
        mode: state.keepsLocks ? header('x-amz-object-lock-mode') : undefined,
        until: state.keepsLocks ? header('x-amz-object-lock-retain-until-date') : undefined,
        marker: false,
      };
      state.objects.set(key, [created, ...versions()]);
    };
    if (state.fault?.({ operation, key, response }, apply) === true) return;
    switch (operation) {
      case 'list':
        list(response, query);
        return;
      case 'put': {
        const sent = header('x-amz-checksum-sha256');
        const real = createHash('sha256').update(body).digest('base64');
        if (sent !== real) return error(response, 400, 'BadDigest');
        if (state.conditional && header('if-none-match') === '*' && versions()[0]?.marker === false) {
          return error(response, 412, 'PreconditionFailed');
        }
        apply();
        const told = state.toldChecksum === undefined ? real : state.toldChecksum;
        response
          .writeHead(200, {
            ...(state.versioned ? { 'x-amz-version-id': created?.id ?? '' } : {}),
            ...(told === null ? {} : { 'x-amz-checksum-sha256': told }),
          })
          .end();
        return;
      }
      case 'put-retention': {
        if (version === undefined) return error(response, 404, 'NoSuchVersion');
        if (state.keepsLocks) {
          version.mode = /<Mode>(\w+)</.exec(body.toString())?.[1];
          version.until = /<RetainUntilDate>([^<]+)</.exec(body.toString())?.[1];
        }
        response.writeHead(200).end();
        return;
      }
      case 'get-retention':
        if (version === undefined) return error(response, 404, 'NoSuchVersion');
        if (version.mode === undefined) return error(response, 404, 'NoSuchObjectLockConfiguration');
        xml(
          response,
          `<Retention><Mode>${version.mode}</Mode><RetainUntilDate>${version.until}</RetainUntilDate></Retention>`,
        );
        return;
      default:
        if (version === undefined) return error(response, 404, 'NoSuchVersion');
        if (version.marker) return error(response, 405, 'MethodNotAllowed');
        response
          .writeHead(200, version.meta === undefined ? {} : { 'x-amz-meta-retain-until-ms': version.meta })
          .end(version.body);
    }
  };
  const list = (response: ServerResponse, query: URLSearchParams) => {
    const prefix = query.get('prefix') ?? '';
    const [afterKey, afterVersion] = [query.get('key-marker'), query.get('version-id-marker')];
    const all = [...state.objects.entries()]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .flatMap(([key, versions]) => versions.map((version) => ({ key, version })))
      .filter(({ key }) => key.startsWith(prefix));
    const at = all.findIndex(({ key, version }) => key === afterKey && version.id === afterVersion) + 1;
    const page = all.slice(at, at + state.pageSize);
    const last = page.at(-1);
    const items = page.map(({ key, version }) => {
      const name = version.marker ? 'DeleteMarker' : 'Version';
      const time = new Date(version.at).toISOString();
      return `<${name}><Key>${key}</Key><VersionId>${version.id}</VersionId><LastModified>${time}</LastModified></${name}>`;
    });
    xml(
      response,
      `<ListVersionsResult><IsTruncated>${at + page.length < all.length}</IsTruncated>
       <NextKeyMarker>${last?.key ?? ''}</NextKeyMarker><NextVersionIdMarker>${last?.version.id ?? ''}</NextVersionIdMarker>
       ${items.join('')}</ListVersionsResult>`,
    );
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => handle(request, response, Buffer.concat(chunks)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  return Object.assign(state, {
    endpoint,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

function xml(response: ServerResponse, body: string): void {
  response.writeHead(200, { 'content-type': 'application/xml' }).end(`<?xml version="1.0"?>${body}`);
}

function error(response: ServerResponse, status: number, code: string): void {
  response
    .writeHead(status, { 'content-type': 'application/xml' })
    .end(`<Error><Code>${code}</Code><Message>m</Message></Error>`);
}
