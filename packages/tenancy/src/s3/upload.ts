/**
 * Storing an object: one request for bytes and short streams, a multipart upload for longer ones (Amazon S3 User Guide,
 * "Multipart upload limits": parts of 5 MiB to 5 GiB, 10,000 at most). An upload that fails is aborted, so that no part
 * stays behind; what a crash leaves, a lifecycle rule of the bucket ends.
 */
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { RingfenceTenancyError } from '../errors.ts';
import type { ObjectBody } from '../storage/object-storage.ts';
import { bodyParts } from './body-parts.ts';

/** Smallest part of S3, bytes. */
export const MIN_PART_BYTES: number = 5 * 1024 * 1024;
const MAX_PARTS = 10_000;

/** Where and how to store. */
export interface Upload {
  readonly bucket: string;
  readonly key: string;
  readonly partBytes: number;
  readonly ifAbsent: boolean;
}

/** Stores `body` and gives the etag of what was stored, if the server named one. */
export async function upload(
  client: S3Client,
  target: Upload,
  body: ObjectBody,
): Promise<string | undefined> {
  if (body instanceof Uint8Array) return putWhole(client, target, body);
  const parts = bodyParts(body, target.partBytes);
  try {
    const first = await parts.next();
    const second = first.done === true ? first : await parts.next();
    if (first.done === true || second.done === true) {
      return await putWhole(client, target, first.done === true ? new Uint8Array() : first.value);
    }
    return await putParts(client, target, rejoin(first.value, second.value, parts));
  } finally {
    await parts.return(); // a failure before the third part would leave the source open
  }
}

async function putWhole(client: S3Client, target: Upload, body: Uint8Array): Promise<string | undefined> {
  const { ETag } = await client.send(
    new PutObjectCommand({
      Bucket: target.bucket,
      Key: target.key,
      Body: body,
      ContentLength: body.length,
      ...ifNoneMatch(target),
    }),
  );
  return ETag;
}

async function putParts(
  client: S3Client,
  target: Upload,
  parts: AsyncIterable<Uint8Array>,
): Promise<string | undefined> {
  const object = { Bucket: target.bucket, Key: target.key };
  const { UploadId } = await client.send(
    new CreateMultipartUploadCommand({ ...object, ChecksumAlgorithm: 'CRC32' }),
  );
  if (UploadId === undefined) {
    throw new RingfenceTenancyError('tenancy.storage_unavailable', 'the server named no upload');
  }
  try {
    const completed: CompletedPart[] = [];
    for await (const Body of parts) {
      const PartNumber = completed.length + 1;
      if (PartNumber > MAX_PARTS) {
        throw new RingfenceTenancyError(
          'tenancy.storage_too_large',
          `the body needs more than ${MAX_PARTS} parts of ${target.partBytes} bytes`,
        );
      }
      const answer = await client.send(
        new UploadPartCommand({ ...object, UploadId, PartNumber, Body, ContentLength: Body.length }),
      );
      completed.push({ PartNumber, ETag: answer.ETag, ChecksumCRC32: answer.ChecksumCRC32 });
    }
    const { ETag } = await client.send(
      new CompleteMultipartUploadCommand({
        ...object,
        UploadId,
        MultipartUpload: { Parts: completed },
        ...ifNoneMatch(target),
      }),
    );
    return ETag;
  } catch (error) {
    await client.send(new AbortMultipartUploadCommand({ ...object, UploadId })).catch((second: unknown) => {
      throw new AggregateError([error, second], 'the upload failed, and so did its abortion');
    });
    throw error;
  }
}

function ifNoneMatch({ ifAbsent }: Upload): { IfNoneMatch?: '*' } {
  return ifAbsent ? { IfNoneMatch: '*' } : {};
}

async function* rejoin(
  first: Uint8Array,
  second: Uint8Array,
  rest: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  yield first;
  yield second;
  yield* rest;
}
