/**
 * A secret that does not print itself. Invariant: its text leaves only through `reveal()`; JSON, string conversion,
 * template literals, `console.log` and errors show a placeholder. It does not clear memory: JavaScript strings cannot be.
 */

const PLACEHOLDER = '[secret]';

/** A secret text; `reveal()` is the only way to it. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    if (typeof text !== 'string' || text === '') throw new TypeError('a secret is a string of characters');
    this.#text = text;
    Object.freeze(this);
  }

  /** The text, to be sent or shown once. Search a code base for this name to see every place that holds a secret. */
  reveal(): string {
    return this.#text;
  }

  /** `[secret]`. */
  toString(): string {
    return PLACEHOLDER;
  }

  /** `[secret]`. */
  toJSON(): string {
    return PLACEHOLDER;
  }

  /** `[secret]`, for every conversion to a primitive. */
  [Symbol.toPrimitive](): string {
    return PLACEHOLDER;
  }
}

/** What `console.log` shows in Node.js, which asks by a registered symbol. */
Object.defineProperty(Secret.prototype, Symbol.for('nodejs.util.inspect.custom'), {
  value: () => PLACEHOLDER,
});
Object.freeze(Secret.prototype);
