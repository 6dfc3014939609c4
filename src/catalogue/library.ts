import { sql } from 'kysely'
import type { Database } from './connection.ts'

/** The identity of the library that the catalogue belongs to; `undefined` if it belongs to none yet. */
export async function findLibraryId(db: Database): Promise<string | undefined> {
  return (await db.selectFrom('library').select('id').executeTakeFirst())?.id
}

/** Remembers the library, unless the catalogue belongs to one already. Returns the one it belongs to now. */
export async function rememberLibrary(db: Database, id: string): Promise<string> {
  await sql`insert into library (id) values (${id}) on conflict do nothing`.execute(db)
  return (await findLibraryId(db)) ?? id
}

/** Whether the catalogue knows of any original: a new one, or one of an older server, whose files lie somewhere. */
export async function knowsOriginals(db: Database): Promise<boolean> {
  return (await db.selectFrom('files').select('path').limit(1).executeTakeFirst()) !== undefined
}
