/**
 * The key id of a sealed value, as SQL sees it. A message begins with version, suite and key id: 18 bytes, which are
 * exactly 24 characters of base64url behind the prefix `rf1.`, so that the key id can be compared without decoding.
 *
 *     text    r f 1 . | A Q | E | 21 characters: the last 126 bits of the key id | …
 *     bytea   01 01 | 16 bytes: key id | …
 *
 * The comparison looks at the key id only, not at version and suite, so that a message of a format this release does not
 * know still counts: too many is safe, too few would lose data.
 */
import { type RawBuilder, sql } from 'kysely';
import { TEXT_PREFIX } from '../field-format.ts';
import { keyIdBytes } from '../key-id.ts';

/** True for rows whose sealed value names the key id. An expression index on the same expression serves it. */
export function namesKeyId(column: string, form: 'text' | 'bytes', keyId: string): RawBuilder<boolean> {
  const ref = sql.ref(column);
  if (form === 'bytes') {
    return sql<boolean>`substring(${ref} from 3 for 16) = ${Buffer.from(keyIdBytes(keyId))}::bytea`;
  }
  // "C", because a collation that ignores case or accents must not decide about key ids.
  return sql<boolean>`substring(${ref} from 8 for 21) = ${keyIdChars(keyId)}::text collate "C"`;
}

/** Characters 8 to 28 of every text form that names the key id. */
function keyIdChars(keyId: string): string {
  const header = Buffer.concat([Buffer.of(0, 0), keyIdBytes(keyId)]);
  return (TEXT_PREFIX + header.toString('base64url')).slice(7);
}
