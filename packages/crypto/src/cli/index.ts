/** `@ringfence/crypto/cli`: the shape of the configuration file of the command line. */
export type { CryptoCliConfig } from './config.ts';
