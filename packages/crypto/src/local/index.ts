/** `@ringfence/crypto/local`: a KEK from memory, a file or the environment, for development and self-hosting. */
export { type KekSource, kekFromEnv, kekFromFile } from './kek-source.ts';
export { type LocalKmsOptions, localKms } from './local-kms.ts';
