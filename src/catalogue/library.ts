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

/** What lies at the top of a library that has all originals of the catalogue: years, mostly. Reads every path. */
export async function listTopNames(db: Database): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`select distinct split_part(path, '/', 1) as name from files`.execute(db)
  return rows.map((row) => row.name)
}
