/**
 * What members hand in, checked before anything is stored or asked of the database. PostgreSQL takes more than is meant,
 * such as `infinity` for a date, and refuses other things than are meant, such as a NUL in a text.
 */
import { z } from 'zod';

/** Thrown for input that is not as expected; nothing was done. It names the field, never its content. */
export class InvalidInputError extends Error {
  override readonly name: string = 'InvalidInputError';
  /** Stable machine-readable code. */
  readonly code: string = 'ledger.invalid_input';
  /** Which field. */
  readonly field: string;

  constructor(field: string, expected: string) {
    super(`${field}: expected ${expected}`);
    this.field = field;
  }
}

/** A text that says something: neither empty nor blank. */
export function words(max: number): z.ZodType<string, string> {
  return z
    .string()
    .max(max)
    .regex(/\S/)
    .refine((text) => !/[\0\p{Cs}]/u.test(text));
}

/** Such a text without line breaks and other control characters. */
export function line(max: number): z.ZodType<string, string> {
  return words(max).refine((text) => !/\p{Cc}/u.test(text));
}

/** A day that both a calendar and PostgreSQL have. */
export function day(): z.ZodType<string, string> {
  return z.iso.date().refine((text) => text >= '0001-01-01');
}

/**
 * Checks input.
 *
 * @throws InvalidInputError `ledger.invalid_input` that names the field of `input` which is wrong.
 */
export function checked<T>(schema: z.ZodType<T>, input: unknown, field: string, expected: string): T {
  const { success, data, error } = schema.safeParse(input);
  if (success) return data;
  throw new InvalidInputError([field, ...(error.issues[0]?.path ?? [])].join('.'), expected);
}
