/**
 * Loads what is measured against from a folder of its own, so that no install of the project pulls it in. The first use
 * installs it from the folder's lockfile.
 */
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

const folder = fileURLToPath(new URL('peers/', import.meta.url));

/** Imports a peer's module. */
export async function loadPeer<Module>(specifier: string): Promise<Module> {
  const resolve = () => createRequire(`${folder}package.json`).resolve(specifier);
  let resolved: string;
  try {
    resolved = resolve();
  } catch {
    // The folder is a workspace of its own, so that its settings apply.
    execFileSync('pnpm', ['install', '--frozen-lockfile'], { cwd: folder, stdio: 'inherit' });
    resolved = resolve();
  }
  const module = (await import(pathToFileURL(resolved).href)) as Module & { default?: Module };
  return module.default === undefined ? module : { ...module.default, ...module };
}
