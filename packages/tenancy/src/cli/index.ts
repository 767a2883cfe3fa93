/** `@ringfence/tenancy/cli`: the shape of the configuration file of the command line. */
export type { TenancyCliConfig } from './config.ts';
