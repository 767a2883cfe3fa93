/** The bytes of a flight, held against the ones the driver writes for the same messages. */

import pg from 'pg';
import { describe, expect, it } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { FlightMessages, MAX_PARAMETERS } from '../src/flight-messages.ts';
import { statementOf } from '../src/statement.ts';

interface DriverConnection {
  parse(message: { name: string; text: string }): void;
  bind(message: { statement: string; values: readonly unknown[] }): void;
  describe(message: { type: 'P' }): void;
  execute(message: object): void;
  close(message: { type: 'S'; name: string }): void;
  sync(): void;
}

/** What the driver writes. */
function byDriver(write: (connection: DriverConnection) => void): string {
  const written: Uint8Array[] = [];
  const stream = { writable: true, write: (bytes: Uint8Array) => written.push(bytes) };
  const { Connection } = pg as unknown as { Connection: new (config: object) => DriverConnection };
  write(new Connection({ stream }));
  return Buffer.concat(written).toString('hex');
}

function byFlight(write: (messages: FlightMessages) => void): string {
  const messages = new FlightMessages();
  write(messages);
  return Buffer.from(messages.bytes).toString('hex');
}

const name = fc.stringMatching(/^[a-z_0-9]{0,40}$/);
const text = fc.string({ unit: 'binary', maxLength: 3_000 }).filter((each) => !each.includes('\0'));
const value = fc.oneof(text, fc.constant(null), fc.uint8Array({ maxLength: 3_000 }));

describe('the messages of a flight', () => {
  it('are byte for byte what the driver writes, whatever the texts and values', () => {
    fc.assert(
      fc.property(name, text, fc.array(value, { maxLength: 40 }), (statement, sql, values) => {
        const asBuffers = values.map((each) => (each instanceof Uint8Array ? Buffer.from(each) : each));
        expect(
          byFlight((messages) => {
            messages.close(statement);
            messages.parse(statement, sql);
            messages.bind(statement, values);
            messages.describe();
            messages.execute();
            messages.sync();
          }),
        ).toBe(
          byDriver((connection) => {
            connection.close({ type: 'S', name: statement });
            connection.parse({ name: statement, text: sql });
            connection.bind({ statement, values: asBuffers });
            connection.describe({ type: 'P' });
            connection.execute({});
            connection.sync();
          }),
        );
      }),
    );
  });

  it('count what was written, so that a zero byte in a text shifts no message behind it', () => {
    const messages = new FlightMessages();
    messages.parse('s', 'select 1\0\0\0');
    messages.bind('s', ['a\0b', 'ü'.repeat(2_000)]);
    messages.sync();
    const bytes = Buffer.from(messages.bytes);
    const codes: string[] = [];
    for (let at = 0; at < bytes.length; at += 1 + bytes.readInt32BE(at + 1))
      codes.push(String.fromCharCode(bytes[at] ?? 0));
    expect(codes).toEqual(['P', 'B', 'S']);
  });

  it('refuse more parameters than Bind can count, before anything is sent', () => {
    const of = (length: number) => statementOf({ sql: 'select 1', parameters: new Array(length).fill('x') });
    expect(of(MAX_PARAMETERS).parameters).toHaveLength(MAX_PARAMETERS);
    expect(() => of(MAX_PARAMETERS + 1)).toThrow(TypeError);
  });
});
