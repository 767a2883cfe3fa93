/**
 * Cuts a stream of chunks of any size into parts of one size, with one part in memory at a time: chunks are copied into
 * the part as they come, and the source is not asked for more until the part is taken.
 */

/** A failure of the caller's own stream: it is the caller's to read, not a failure of the store. */
export class BodyFailure extends Error {
  override readonly name: string = 'BodyFailure';
}

async function* named(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* body;
  } catch (cause) {
    throw new BodyFailure('the body failed', { cause });
  }
}

/** The parts of `body`; all but the last have exactly `partBytes` bytes. An empty body gives one empty part. */
export async function* bodyParts(
  body: AsyncIterable<Uint8Array>,
  partBytes: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  let part = new Uint8Array(partBytes);
  let filled = 0;
  let any = false;
  for await (const chunk of named(body)) {
    if (!(chunk instanceof Uint8Array)) throw new TypeError('a body yields Uint8Array chunks');
    let taken = 0;
    while (taken < chunk.length) {
      // Only when more follows: so a full part may still be the last.
      if (filled === partBytes) {
        yield part;
        any = true;
        part = new Uint8Array(partBytes);
        filled = 0;
      }
      const some = chunk.subarray(taken, taken + partBytes - filled);
      part.set(some, filled);
      filled += some.length;
      taken += some.length;
    }
  }
  if (filled > 0 || !any) yield part.subarray(0, filled);
}

/** Chunks of a response as plain `Uint8Array`s, in a stream that reads ahead by nothing. */
export function plainStream(
  source: AsyncIterable<Uint8Array> & { destroy?(): unknown },
  mapError: (error: unknown) => unknown,
): ReadableStream<Uint8Array> {
  const chunks = source[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const next = await chunks.next().catch((error: unknown) => {
          throw mapError(error);
        });
        if (next.done === true) {
          controller.close();
          return;
        }
        const { buffer, byteOffset, byteLength } = next.value;
        controller.enqueue(new Uint8Array(buffer, byteOffset, byteLength));
      },
      async cancel() {
        source.destroy?.(); // an iterator that was asked for nothing yet would not close it
        await chunks.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}
