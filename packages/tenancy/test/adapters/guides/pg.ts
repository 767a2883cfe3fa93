// #region setup
import { createPgTenancy } from '@ringfence/tenancy/pg';
import pg from 'pg';
import { contextKey, type Session } from './application.ts';

const pool = new pg.Pool({ connectionString: process.env['APP_URL'] }); // as the app role
const tenancy = createPgTenancy({ pool, contextKey });
// #endregion

// #region query
export async function notes(session: Session): Promise<string[]> {
  const db = tenancy.forOrg(session.org, { actor: `user:${session.user}` });
  const { rows } = await db.query<{ body: string }>('select body from app.note order by id');
  return rows.map(({ body }) => body);
}
// #endregion

// #region transaction
export async function rename(session: Session, from: string, to: string): Promise<number | null> {
  const client = await tenancy.forOrg(session.org, { actor: `user:${session.user}` }).connect();
  try {
    await client.query('begin'); // sends nothing yet
    await client.query('insert into app.tag (id, label) values ($1, $2)', [to, from]);
    const { rowCount } = await client.query('update app.note set body = $2 where body = $1', [from, to]);
    await client.query('commit');
    return rowCount;
  } catch (error) {
    await client.query('rollback');
    throw error;
  } finally {
    client.release();
  }
}
// #endregion

export const close = (): Promise<void> => pool.end();
