import { sql } from 'kysely'
import { handOver } from '../postgres/hand-over.ts'
import type { Database } from './connection.ts'

/** The statements that end it, for `psql` on the catalogue's database as a superuser, and what to do after them. */
export interface TooMuchPower {
  readonly role: string
  readonly statements: readonly [string, string]
  readonly afterwards: string
}

/** A new role beside the one that a PostgreSQL was made with, which can't be anything but a superuser. */
const NEW_ROLE = 'iclood_catalogue'

/**
 * Whether the role that the catalogue is used as is a superuser; `undefined` if it is none. Throws
 * `database_unavailable`.
 */
export async function findSuperuser(db: Database): Promise<TooMuchPower | undefined> {
  const { rows } = await sql<{ role: string; quoted: string; isFirst: boolean }>`
    select rolname as role, quote_ident(rolname) as quoted, oid = 10 as "isFirst"
    from pg_roles where rolname = current_user and rolsuper
  `.execute(db)
  const found = rows[0]
  if (found === undefined) return undefined
  const { role, quoted, isFirst } = found
  if (!isFirst) {
    const statements = [`grant create on schema public to ${quoted};`, `alter role ${quoted} nosuperuser;`] as const
    return { role, statements, afterwards: '' }
  }
  return {
    role,
    statements: [
      `create role ${NEW_ROLE} login password 'a-long-random-text'; grant create on schema public to ${NEW_ROLE};`,
      `${handOver(NEW_ROLE).replaceAll(/\s+/g, ' ')};`,
    ],
    afterwards: `Then name ${NEW_ROLE} and its password in DATABASE_URL.`,
  }
}
