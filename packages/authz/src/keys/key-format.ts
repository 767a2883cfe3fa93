/**
 * The text of an API key: `prefix_type_` then 16 characters of id, 33 of secret and 6 of checksum, all base62.
 * 33 characters drawn without bias are 196 bits. The checksum is CRC-32 (ISO-HDLC, as in zlib) over all that stands
 * before it, so that scanners and this parser tell a key from a look-alike without asking anybody. It protects nothing:
 * everybody can compute it. Invariant: one key has one spelling, and what is refused here costs no hash and no look-up.
 */
import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const ID_LENGTH = 16;
const SECRET_LENGTH = 33;
const CHECKSUM_LENGTH = 6;
const BODY_LENGTH = ID_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH;
const NAME = /^[a-z][a-z0-9]{1,11}$/;
/** Largest multiple of 62 in a byte: bytes from here on would favour the first characters. */
const UNBIASED = 248;

/** A key taken apart. */
export interface ParsedKey {
  /** Public part, by which it is looked up, 16 characters. */
  readonly id: string;
  /** Everything that the HMAC is of: the text without its checksum. */
  readonly authenticated: string;
}

/** A key that was just drawn. */
export interface DrawnKey extends ParsedKey {
  /** The whole text. */
  readonly text: string;
}

/** The format of the keys of one application in one environment. */
export class KeyFormat {
  /** `prefix_type_`. */
  readonly #label: string;
  readonly #shape: RegExp;
  readonly #length: number;

  /** @throws TypeError when prefix or type is not 2 to 12 characters of a-z and 0-9, beginning with a letter. */
  constructor(prefix: string, type: string) {
    if (typeof prefix !== 'string' || !NAME.test(prefix))
      throw new TypeError('prefix is not 2 to 12 characters of a-z 0-9, beginning with a letter');
    if (typeof type !== 'string' || !NAME.test(type))
      throw new TypeError('type is not 2 to 12 characters of a-z 0-9, beginning with a letter');
    this.#label = `${prefix}_${type}_`;
    this.#shape = new RegExp(`^${this.#label}[0-9A-Za-z]{${BODY_LENGTH}}$`);
    this.#length = this.#label.length + BODY_LENGTH;
  }

  /** Draws a key from the operating system's generator. */
  draw(): DrawnKey {
    const id = base62(ID_LENGTH);
    const authenticated = `${this.#label}${id}${base62(SECRET_LENGTH)}`;
    return { id, authenticated, text: `${authenticated}${checksum(authenticated)}` };
  }

  /** Takes a text apart; undefined when it is no key of this format. */
  parse(text: unknown): ParsedKey | undefined {
    if (typeof text !== 'string' || text.length !== this.#length || !this.#shape.test(text)) return undefined;
    const authenticated = text.slice(0, -CHECKSUM_LENGTH);
    if (crc32(authenticated) !== checksumOf(text)) return undefined;
    const start = this.#label.length;
    return { id: text.slice(start, start + ID_LENGTH), authenticated };
  }

  /** Source of a regular expression for secret scanners; check the CRC-32 of what it finds to rule out look-alikes. */
  get scannerPattern(): string {
    return `\\b${this.#label}[0-9A-Za-z]{${BODY_LENGTH}}\\b`;
  }
}

/** CRC-32 of the text in base62, six characters, most significant first. */
export function checksum(text: string): string {
  let rest = crc32(text);
  let digits = '';
  for (let n = 0; n < CHECKSUM_LENGTH; n += 1) {
    digits = ALPHABET.charAt(rest % 62) + digits;
    rest = Math.floor(rest / 62);
  }
  return digits;
}

/** The number that the last six characters, all base62, stand for. One number has one spelling. */
function checksumOf(text: string): number {
  let value = 0;
  for (let at = text.length - CHECKSUM_LENGTH; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    value = value * 62 + code - (code < 58 ? 48 : code < 91 ? 55 : 61); // 0-9, A-Z, a-z
  }
  return value;
}

/** Characters drawn evenly: bytes that would favour some are thrown away. */
function base62(length: number): string {
  let text = '';
  while (text.length < length) {
    for (const byte of randomBytes(length * 2)) {
      if (byte < UNBIASED && text.length < length) text += ALPHABET.charAt(byte % 62);
    }
  }
  return text;
}
