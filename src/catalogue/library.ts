import { sql } from 'kysely'
import type { Database } from './connection.ts'
import { findPlace, LIBRARY } from './places.ts'

/** The identity of the library that the catalogue belongs to; `undefined` if it belongs to none yet. */
export async function findLibraryId(db: Database): Promise<string | undefined> {
  return (await findPlace(db))?.identity ?? undefined
}

/** When the catalogue began to belong to its library; `undefined` if it belongs to none yet. */
export async function findLibrarySince(db: Database): Promise<Date | undefined> {
  return (await findPlace(db))?.since ?? undefined
}

/** Remembers the library, unless the catalogue belongs to one already. Returns the one it belongs to now. */
export async function rememberLibrary(db: Database, id: string): Promise<string> {
  await sql`
    update places set identity = ${id}, since = now() where id = ${LIBRARY} and identity is null`.execute(db)
  return (await findLibraryId(db)) ?? id
}

/**
 * Where the catalogue's library was when it was last there: its folder and where that folder's file system is mounted,
 * as absolute paths. `undefined` if that is not known.
 */
export async function findWhereabouts(db: Database): Promise<{ folder: string; mountPoint: string } | undefined> {
  const row = await findPlace(db)
  if (!row?.folder || !row.mount_point) return undefined
  return { folder: row.folder, mountPoint: row.mount_point }
}

/** Notes where the catalogue's library is: its folder and where that is mounted, as absolute paths. */
export async function noteWhereabouts(db: Database, folder: string, mountPoint: string): Promise<void> {
  await db.updateTable('places').set({ folder, mount_point: mountPoint }).where('id', '=', LIBRARY).execute()
}

/**
 * When the library's folders were last compared with the catalogue from end to end; `undefined` until that is done
 * after a rebuild.
 */
export async function findWalk(db: Database): Promise<Date | undefined> {
  return (await findPlace(db))?.walked_at ?? undefined
}

/** Says that they have just been compared. */
export async function recordWalk(db: Database, now: Date): Promise<void> {
  await db.updateTable('places').set({ walked_at: now }).where('id', '=', LIBRARY).execute()
}

/** The path up to which old originals have been looked at; null if all have been, or there are none to be. */
export async function findLookedUntil(db: Database): Promise<string | null> {
  return (await findPlace(db))?.looked_until ?? null
}

/** Says up to which path they have been looked at; null: all. */
export async function recordLookedUntil(db: Database, path: string | null): Promise<void> {
  await db.updateTable('places').set({ looked_until: path }).where('id', '=', LIBRARY).execute()
}

/**
 * What lies at the top of a library that has all originals of the catalogue: years, mostly. One look into the index for
 * each.
 */
export async function listTopNames(db: Database): Promise<string[]> {
  // Behind everything in the folder "2024" is "20240": "0" is the character after "/".
  const { rows } = await sql<{ name: string }>`
    with recursive tops as (
      (select split_part(path, '/', 1) collate "C" as name from files order by path limit 1)
      union all
      select split_part(next.path, '/', 1) collate "C"
      from tops, lateral (select path from files where path >= tops.name || '0' order by path limit 1) as next
    )
    select name from tops
  `.execute(db)
  return rows.map((row) => row.name)
}

/** Says that a server works with the library. Returns whether the one before ended cleanly. */
export async function beginRun(db: Database): Promise<boolean> {
  const { rows } = await sql<{ was: boolean }>`
    update places set stopped_cleanly = false
    from (select stopped_cleanly as was from places where id = ${LIBRARY} for update) as before
    where id = ${LIBRARY}
    returning was
  `.execute(db)
  return rows[0]?.was ?? false
}

/** Says that it has ended cleanly: nothing lies on the drive that an upload has left there without a record. */
export async function endRun(db: Database): Promise<void> {
  await db.updateTable('places').set({ stopped_cleanly: true }).where('id', '=', LIBRARY).execute()
}
