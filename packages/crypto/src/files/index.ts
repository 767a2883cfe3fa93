/**
 * Encrypted files: C2SP chunked encryption (Cobblestone-256) bound to organisation and cell, as Node.js streams, web
 * streams, bytes, and random access. Format: docs/formats/file-v1.md.
 */
export { decryptBytes, encryptBytes } from './file-bytes.ts';
export { type FileCell, sealedSize } from './file-format.ts';
export { FileSource, fileSource } from './file-source.ts';
export { type FileKeySource, type FileKeys, fileKeys } from './key-source.ts';
export { decryptTransform, encryptTransform } from './node-streams.ts';
export { openFile, type RangeSource, SealedFile } from './random-access.ts';
export { decryptStream, encryptStream } from './web-streams.ts';
