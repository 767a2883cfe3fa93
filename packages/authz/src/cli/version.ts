/** Name and version of this package, for `--version`: from its own manifest, wherever it is installed. */
import { createRequire } from 'node:module';

/** `@ringfence/authz <version>`. */
export function versionText(): string {
  const manifest: unknown = createRequire(import.meta.url)('@ringfence/authz/package.json');
  const { name, version } = manifest as { readonly name: string; readonly version: string };
  return `${name} ${version}`;
}
