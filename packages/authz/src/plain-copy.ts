/**
 * Reads untrusted data once into plain data of our own: what was checked is what is used, even when the original is a
 * proxy, has getters, or is changed later. Refuses what JSON cannot say, keys that reach a prototype, and sizes that
 * only an attack has.
 */
import type { PolicyIssue } from './errors.ts';

const MAX_DEPTH = 32;
const MAX_NODES = 2_000_000;
const MAX_STRING = 4_096;

/** With the `u` flag a surrogate pair is one code point, so only a lone half matches. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/** Plain data, or the first thing that is not plain. */
export type PlainCopy =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly issue: PolicyIssue };

/** Copies objects, arrays, strings, safe integers and booleans; anything else is refused with its path. */
export function plainCopy(input: unknown): PlainCopy {
  let nodes = 0;

  const copy = (value: unknown, path: string, depth: number): unknown => {
    nodes += 1;
    if (nodes > MAX_NODES) throw new NotPlain(path, `more than ${MAX_NODES} values`);
    if (depth > MAX_DEPTH) throw new NotPlain(path, `nested deeper than ${MAX_DEPTH}`);
    switch (typeof value) {
      case 'string':
        return checkedString(value, path);
      case 'boolean':
        return value;
      case 'number':
        if (!Number.isSafeInteger(value)) throw new NotPlain(path, 'not a safe integer');
        return value + 0; // -0 becomes 0, so that equal policies have equal hashes
      case 'object':
        break;
      default:
        throw new NotPlain(path, `a ${typeof value} is not JSON`);
    }
    if (value === null) throw new NotPlain(path, 'null is not used in policies');
    return Array.isArray(value) ? copyArray(value, path, depth) : copyObject(value, path, depth);
  };

  const copyArray = (value: readonly unknown[], path: string, depth: number): unknown[] => {
    const length = value.length;
    if (length > MAX_NODES) throw new NotPlain(path, `more than ${MAX_NODES} values`);
    const result: unknown[] = [];
    for (let index = 0; index < length; index += 1)
      result.push(copy(value[index], `${path}[${index}]`, depth + 1));
    return result;
  };

  const copyObject = (value: object, path: string, depth: number): Record<string, unknown> => {
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) throw new NotPlain(path, 'not a plain object');
    const result: Record<string, unknown> = {};
    for (const key of Reflect.ownKeys(value)) {
      if (typeof key === 'symbol') throw new NotPlain(path, 'has a symbol key');
      const at = path === '' ? key : `${path}.${key}`;
      if (isPrototypeName(key)) throw new NotPlain(at, 'the name of a property every object inherits');
      const member = (value as Record<string, unknown>)[key];
      if (member !== undefined) result[checkedString(key, at)] = copy(member, at, depth + 1);
    }
    return result;
  };

  try {
    return { ok: true, value: copy(input, '', 0) };
  } catch (error) {
    if (!(error instanceof NotPlain)) throw error;
    return {
      ok: false,
      issue: { path: error.path === '' ? 'policy' : error.path, message: error.message },
    };
  }
}

/** True for the names every object inherits, `__proto__` and `constructor` among them. */
export function isPrototypeName(name: string): boolean {
  return name === 'prototype' || Reflect.has(Object.prototype, name);
}

/** What is wrong with a string that a policy or a database comparison must hold exactly; undefined when nothing is. */
export function stringProblem(value: string): string | undefined {
  if (value.includes('\u0000')) return 'contains a NUL character';
  if (LONE_SURROGATE.test(value)) return 'contains a lone surrogate';
  return undefined;
}

function checkedString(value: string, path: string): string {
  if (value.length > MAX_STRING) throw new NotPlain(path, `longer than ${MAX_STRING} characters`);
  const problem = stringProblem(value);
  if (problem !== undefined) throw new NotPlain(path, problem);
  return value;
}

class NotPlain extends Error {
  readonly path: string;

  constructor(path: string, message: string) {
    super(message);
    this.path = path;
  }
}
