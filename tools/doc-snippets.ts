/**
 * Reads the fenced blocks of a Markdown page and holds them against code that is compiled and run.
 * A page names the code of a TypeScript block in a comment above it: `<!-- snippet: declaration handle -->` stands for
 * the regions `// #region declaration` and `// #region handle` of a source, with a blank line between them.
 * Invariant: a TypeScript block without a region, or that differs from its region by one character, is reported.
 */
import { readFileSync } from 'node:fs';

/** One fenced block. */
export interface Fence {
  /** Language after the opening fence. */
  readonly language: string;
  /** Names of the regions it shows. */
  readonly regions: readonly string[];
  /** Text without the fence's own indentation, each line with its line break. */
  readonly code: string;
  /** Line of the opening fence, from 1. */
  readonly line: number;
}

const OPENING = /^( *)```(\w*)$/;
const MARK = /^ *<!-- snippet: ([\w -]+) -->$/;

/** The fenced blocks of a page. */
export function fencesOf(markdown: string): Fence[] {
  const fences: Fence[] = [];
  const lines = markdown.split('\n');
  for (let at = 0; at < lines.length; at += 1) {
    const [opening, indent = '', language = ''] = OPENING.exec(lines[at] ?? '') ?? [];
    if (opening === undefined) continue;
    const end = lines.indexOf(`${indent}\`\`\``, at + 1);
    if (end === -1) throw new Error(`the fence of line ${at + 1} does not end`);
    const mark = MARK.exec(lines[at - 1] ?? '')?.[1];
    const code = undented(lines.slice(at + 1, end), indent);
    fences.push({ language, regions: mark?.split(' ') ?? [], code, line: at + 1 });
    at = end;
  }
  return fences;
}

/** The text of the only block of a language; throws when there are none or several. */
export function onlyFence(markdown: string, language: string): string {
  const found = fencesOf(markdown).filter((fence) => fence.language === language);
  const [fence] = found;
  if (fence === undefined || found.length > 1)
    throw new Error(`the page has ${found.length} blocks of ${language}, not one`);
  return fence.code;
}

/** What differs between the TypeScript blocks of a page and the regions of its sources: nothing, if all is well. */
export function snippetDrift(page: URL, sources: readonly URL[]): string[] {
  const regions = new Map(sources.flatMap((source) => regionsOf(readFileSync(source, 'utf8'))));
  const shown = new Set<string>();
  const drift: string[] = [];
  for (const { language, regions: names, code, line } of fencesOf(readFileSync(page, 'utf8'))) {
    if (language !== 'ts') continue;
    for (const name of names) shown.add(name);
    const expected = names.map((name) => regions.get(name) ?? `no region ${name}\n`).join('\n');
    if (names.length === 0) drift.push(`line ${line}: names no region`);
    else if (code !== expected) drift.push(`line ${line}: is not ${names.join(', ')}:\n${expected}`);
  }
  for (const name of regions.keys()) if (!shown.has(name)) drift.push(`region ${name} is not shown`);
  return drift;
}

function regionsOf(source: string): [string, string][] {
  return [...source.matchAll(/^( *)\/\/ #region (\w+)\n([\s\S]*?)^ *\/\/ #endregion$/gm)].map(
    ([, indent = '', name = '', text = '']) => [name, undented(text.split('\n').slice(0, -1), indent)],
  );
}

function undented(lines: readonly string[], indent: string): string {
  return lines
    .map((line) => `${line.startsWith(indent) ? line.slice(indent.length) : line.trimStart()}\n`)
    .join('');
}
