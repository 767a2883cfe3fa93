/** Reads the marked snippets of a guide, and the regions of the module that runs them. */
import { readFileSync } from 'node:fs';

export function snippetsOf(
  guide: string,
  module: string,
): { shown: ReadonlyMap<string, string>; regions: ReadonlyMap<string, string> } {
  const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');
  const shown = read(`../../../../docs/adapters/${guide}.md`).matchAll(
    /<!-- snippet: (\w+) -->\n```ts\n([\s\S]*?)```/g,
  );
  const regions = read(module).matchAll(/^( *)\/\/ #region (\w+)\n([\s\S]*?)^ *\/\/ #endregion/gm);
  return {
    shown: new Map([...shown].map(([, name = '', text = '']) => [name, text])),
    regions: new Map(
      [...regions].map(([, indent = '', name = '', lines = '']) => [
        name,
        lines.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
      ]),
    ),
  };
}
