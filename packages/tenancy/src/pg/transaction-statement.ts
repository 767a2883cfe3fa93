/**
 * Tells the statements that begin, end and divide a transaction from all others, because drivers send them as text and the
 * context has to travel inside: BEGIN is held back for the first statement, a savepoint is remembered.
 *
 * Invariant: a text whose first word is one of these is understood whole or refused. A text that hides the word in a way
 * this does not see reaches the server as it is; there it opens no way around the policies, and the connection that it
 * leaves in a transaction is destroyed.
 */

/** A statement about the transaction itself. */
export type TransactionStatement =
  | { readonly kind: 'begin' | 'modes'; readonly modes: string }
  | { readonly kind: 'commit' | 'rollback' }
  | { readonly kind: 'savepoint' | 'release' | 'rollback to'; readonly name: string };

const COMMENT = String.raw`--[^\n]*(?:\n|$)|\/\*[^*]*\*+(?:[^/*][^*]*\*+)*\/`;
const FIRST_WORD = new RegExp(
  String.raw`^(?:\s|${COMMENT})*(begin|start|commit|end|rollback|abort|savepoint|release|set\s+transaction|prepare\s+transaction|copy|listen)\b`,
  'i',
);
const COMMENTS = new RegExp(COMMENT, 'g');

const MODE =
  'isolation level (?:serializable|repeatable read|read committed|read uncommitted)|read (?:only|write)|(?:not )?deferrable';
const BEGIN = new RegExp(`^(?:begin(?: work| transaction)?|start transaction)((?:[ ,]+(?:${MODE}))*)$`, 'i');
const MODES = new RegExp(`^set transaction((?:[ ,]+(?:${MODE}))+)$`, 'i');
const COMMIT = /^(?:commit|end)(?: work| transaction)?(?: and no chain)?$/i;
const ROLLBACK = /^(?:rollback|abort)(?: work| transaction)?(?: and no chain)?$/i;
const SAVEPOINT =
  /^(savepoint|release|rollback|abort)(?: work| transaction)?( to)?(?: savepoint)? ("(?:[^"]|"")+"|[a-z_][\w$]*)$/i;

/**
 * What the text does to the transaction; `undefined` for every other statement.
 *
 * @throws TypeError for COPY and LISTEN, which no handle carries, and for a transaction statement of another form.
 */
export function transactionStatement(text: string): TransactionStatement | undefined {
  const word = FIRST_WORD.exec(text)?.[1]?.toLowerCase();
  if (word === undefined) return undefined;
  const plain = text.replaceAll(COMMENTS, ' ').replaceAll(/\s+/g, ' ').trim().replace(/ ?;$/, '');
  const begin = BEGIN.exec(plain);
  if (begin) return { kind: 'begin', modes: begin[1] ?? '' };
  const modes = MODES.exec(plain);
  if (modes) return { kind: 'modes', modes: modes[1] ?? '' };
  if (COMMIT.test(plain)) return { kind: 'commit' };
  if (ROLLBACK.test(plain)) return { kind: 'rollback' };
  const [, verb = '', to, name] = SAVEPOINT.exec(plain) ?? [];
  const undo = /^(?:rollback|abort)$/i.test(verb);
  if (name !== undefined && undo === (to !== undefined)) {
    return {
      kind: undo ? 'rollback to' : (verb.toLowerCase() as 'savepoint' | 'release'),
      name: folded(name),
    };
  }
  if (word === 'copy' || word === 'listen') {
    throw new TypeError(`${word.toUpperCase()} does not go through the handle of an organisation`);
  }
  throw new TypeError(`a transaction statement of a form that is not supported: ${word.toUpperCase()}`);
}

/** The name PostgreSQL gives to an identifier: as it stands when quoted, in lower case otherwise. */
function folded(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase();
}
