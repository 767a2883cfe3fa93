/**
 * Layout of a sealed file, version 1: our 22-byte header, then the salt, commitment and chunks of C2SP
 * chunked-encryption (https://c2sp.org/chunked-encryption), instance Cobblestone-256. See docs/formats/file-v1.md.
 * Invariant: one plaintext length has one chunking, and header and cell have one encoding each, both bound to the key.
 */
import { encodePart, lengthPrefixed } from '../length-prefix.ts';
import type { OrgId } from '../org-id.ts';
import { malformedFile, unsupportedVersion } from './failures.ts';

/** What a file belongs to, beside its organisation. A file sealed for one cell does not open as another. */
export interface FileCell {
  /** Table of the row that owns the file, 1 to 1024 bytes of UTF-8. */
  readonly table: string;
  /** Column that names the file, 1 to 1024 bytes of UTF-8. */
  readonly column: string;
  /** Id of the row in one fixed text form, 1 to 1024 bytes of UTF-8. */
  readonly row: string;
}

/** What the public header of a sealed file says. */
export interface FileHeader {
  /** Format version; 1. */
  readonly version: number;
  /** Cipher suite; 2 is Cobblestone-256. */
  readonly suite: number;
  /** Id of the key version that sealed the file, 16 bytes. */
  readonly keyId: Uint8Array;
}

export const KEY_ID_BYTES = 16;
export const SALT_BYTES = 24;
export const COMMITMENT_BYTES = 32;
export const TAG_BYTES = 16;
export const NONCE_BYTES = 12;
/** Bytes of our header: magic, version, suite, key id. */
export const HEADER_BYTES = 22;
/** Bytes before the first chunk: header, salt, commitment. */
export const PREFIX_BYTES: number = HEADER_BYTES + SALT_BYTES + COMMITMENT_BYTES;
/** Plaintext bytes of every chunk but the last, which is always shorter. */
export const CHUNK_BYTES = 16_384;
/** Bytes a full chunk takes in the file. */
export const SEALED_CHUNK_BYTES: number = CHUNK_BYTES + TAG_BYTES;
/** Chunk numbers end below this: "If the chunk counter reaches or exceeds 2^38 […] MUST abort". */
export const MAX_CHUNKS: number = 2 ** 38;

const MAGIC = [0x52, 0x46, 0x4e, 0x43]; // "RFNC"
const VERSION = 1;
const SUITE_COBBLESTONE_256 = 2;
const PURPOSE = 'file';

/** Header bytes of a file sealed under this key version. */
export function encodeHeader(keyId: Uint8Array): Uint8Array {
  if (keyId.length !== KEY_ID_BYTES) throw new TypeError('a key id has 16 bytes');
  return Uint8Array.of(...MAGIC, VERSION, SUITE_COBBLESTONE_256, ...keyId);
}

/** Reads the header; `bytes` may go on behind it. */
export function parseHeader(org: OrgId, bytes: Uint8Array): FileHeader {
  if (bytes.length < HEADER_BYTES) throw malformedFile(org, 'it ends within its header');
  if (MAGIC.some((byte, at) => bytes[at] !== byte)) throw malformedFile(org, 'it does not start with RFNC');
  const version = bytes[4] ?? 0;
  const suite = bytes[5] ?? 0;
  if (version !== VERSION || suite !== SUITE_COBBLESTONE_256) throw unsupportedVersion(org, version, suite);
  return { version, suite, keyId: bytes.slice(6, HEADER_BYTES) };
}

/**
 * The cell context: org, table, column, row and purpose, each in UTF-8 behind its length as a big-endian u16. Text that
 * is empty, longer than 1024 bytes or without a UTF-8 form is refused: two cells must never share an encoding.
 */
export function encodeCell(org: OrgId, cell: FileCell): Uint8Array {
  return lengthPrefixed(
    encodePart('org', org),
    encodePart('table', cell.table),
    encodePart('column', cell.column),
    encodePart('row', cell.row),
    encodePart('purpose', PURPOSE),
  );
}

/** Where the chunks of a file lie, told from its length alone. */
export interface FileShape {
  /** Plaintext bytes. */
  readonly size: number;
  /** Number of the last chunk, from 0. */
  readonly lastChunk: number;
}

/** Offset in the file of the chunk with this number. */
export function chunkOffset(chunk: number): number {
  return PREFIX_BYTES + chunk * SEALED_CHUNK_BYTES;
}

/**
 * Length in bytes of the sealed file of a plaintext of `size` bytes, for a `Content-Length` known beforehand.
 *
 * @throws TypeError when the size is not a non-negative safe integer.
 */
export function sealedSize(size: number): number {
  if (!Number.isSafeInteger(size) || size < 0) throw new TypeError('a size is a whole number of bytes');
  return chunkOffset(Math.floor(size / CHUNK_BYTES)) + (size % CHUNK_BYTES) + TAG_BYTES;
}

/** The shape of a file of this length; most lengths that truncation leaves are told here, the others by the last tag. */
export function shapeOfFile(org: OrgId, sealed: number): FileShape {
  if (sealed < PREFIX_BYTES + TAG_BYTES) throw malformedFile(org, 'it ends before its first chunk does');
  const lastChunk = Math.floor((sealed - PREFIX_BYTES) / SEALED_CHUNK_BYTES);
  const last = sealed - chunkOffset(lastChunk);
  if (last < TAG_BYTES) throw truncatedFile(org);
  return { size: lastChunk * CHUNK_BYTES + last - TAG_BYTES, lastChunk };
}

/** The file ends where no file can: its last, short chunk is missing or has no room for its tag. */
export function truncatedFile(org: OrgId): Error {
  return malformedFile(org, 'its last chunk is missing or cut');
}
