/**
 * What may stand between a copier and its bucket: a gateway that only passes requests on and keeps a record of them, one that
 * takes the lock headers out, and one that uploads in parts with credentials of its own, as object gateways do.
 */
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  type ObjectLockMode,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';

export interface Gateway {
  readonly endpoint: string;
  /** Method, path with query, and length of each request. */
  readonly seen: readonly { readonly method: string; readonly url: string; readonly bytes: number }[];
  close(): Promise<void>;
}

/** What a gateway does with a write of an object; undefined passes it on as it is. */
type OnWrite = (incoming: IncomingMessage, body: Buffer, response: ServerResponse) => Promise<void>;

/** Passes everything on. */
export const transparent = (target: string): Promise<Gateway> => gateway(target);

/** Takes the lock headers of writes out. */
export const stripping = (target: string): Promise<Gateway> =>
  gateway(target, async (incoming, body, response) => {
    const headers = Object.fromEntries(
      Object.entries(incoming.headers).filter(([name]) => !name.startsWith('x-amz-object-lock-')),
    );
    await forward(target, incoming, headers, body, response);
  });

/** Uploads in parts, handing on the lock headers as the S3 API has them. */
export const inParts = (target: string, client: S3Client): Promise<Gateway> =>
  gateway(target, async (incoming, body, response) => {
    const { headers, url = '' } = incoming;
    const [, Bucket = '', Key = ''] = /^\/([^/]+)\/([^?]+)/.exec(decodeURIComponent(url)) ?? [];
    const object = { Bucket, Key };
    const { UploadId } = await client.send(
      new CreateMultipartUploadCommand({
        ...object,
        Metadata: { 'retain-until-ms': String(headers['x-amz-meta-retain-until-ms']) },
        ObjectLockMode: headers['x-amz-object-lock-mode'] as ObjectLockMode,
        ObjectLockRetainUntilDate: new Date(String(headers['x-amz-object-lock-retain-until-date'])),
      }),
    );
    const part = { PartNumber: 1, UploadId };
    const { ETag } = await client.send(new UploadPartCommand({ ...object, ...part, Body: body }));
    const { VersionId = '' } = await client.send(
      new CompleteMultipartUploadCommand({
        ...object,
        ...{ UploadId, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } },
      }),
    );
    response.writeHead(200, { 'x-amz-version-id': VersionId }).end();
  });

async function gateway(target: string, onWrite?: OnWrite): Promise<Gateway> {
  const seen: Gateway['seen'][number][] = [];
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const body = Buffer.concat(chunks);
      const { method = '', url = '' } = incoming;
      seen.push({ method, url, bytes: body.length });
      const isWrite = method === 'PUT' && !url.includes('retention');
      const answered =
        isWrite && onWrite !== undefined
          ? onWrite(incoming, body, response)
          : forward(target, incoming, incoming.headers, body, response);
      answered.catch(() => response.destroy());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** With the host that the client signed. */
function forward(
  target: string,
  { method, url = '' }: IncomingMessage,
  headers: IncomingHttpHeaders,
  body: Buffer,
  response: ServerResponse,
): Promise<void> {
  const { hostname, port } = new URL(target);
  return new Promise((resolve, reject) => {
    const options = { hostname, port, method, path: url, headers, setHost: false };
    request(options, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response).on('finish', resolve).on('error', reject);
    })
      .on('error', reject)
      .end(body);
  });
}
