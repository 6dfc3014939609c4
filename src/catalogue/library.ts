import { sql } from 'kysely'
import type { Database } from './connection.ts'

/** The identity of the library that the catalogue belongs to; `undefined` if it belongs to none yet. */
export async function findLibraryId(db: Database): Promise<string | undefined> {
  return (await db.selectFrom('library').select('id').executeTakeFirst())?.id
}

/** When the catalogue began to belong to its library; `undefined` if it belongs to none yet. */
export async function findLibrarySince(db: Database): Promise<Date | undefined> {
  return (await db.selectFrom('library').select('since').executeTakeFirst())?.since
}

/** Remembers the library, unless the catalogue belongs to one already. Returns the one it belongs to now. */
export async function rememberLibrary(db: Database, id: string): Promise<string> {
  await sql`insert into library (id) values (${id}) on conflict do nothing`.execute(db)
  return (await findLibraryId(db)) ?? id
}

/**
 * Where the catalogue's library was when it was last there: its folder and where that folder's file system is mounted,
 * as absolute paths. `undefined` if that is not known.
 */
export async function findWhereabouts(db: Database): Promise<{ folder: string; mountPoint: string } | undefined> {
  const row = await db.selectFrom('library').select(['folder', 'mount_point']).executeTakeFirst()
  if (!row?.folder || !row.mount_point) return undefined
  return { folder: row.folder, mountPoint: row.mount_point }
}

/** Notes where the catalogue's library is: its folder and where that is mounted, as absolute paths. */
export async function noteWhereabouts(db: Database, folder: string, mountPoint: string): Promise<void> {
  await db.updateTable('library').set({ folder, mount_point: mountPoint }).execute()
}

/** The identity of the mirror; `undefined` if none has been set up. */
export async function findMirrorId(db: Database): Promise<string | undefined> {
  return (await db.selectFrom('library').select('mirror_id').executeTakeFirst())?.mirror_id ?? undefined
}

/** Remembers the mirror, unless the catalogue has one already. Returns the one it has now. */
export async function rememberMirror(db: Database, id: string): Promise<string> {
  await db.updateTable('library').set({ mirror_id: id }).where('mirror_id', 'is', null).execute()
  return (await findMirrorId(db)) ?? id
}

/** Makes `id` the mirror. What is known of copies on another one is forgotten. */
export async function replaceMirror(db: Database, id: string): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    await transaction.updateTable('library').set({ mirror_id: id }).execute()
    await transaction.deleteFrom('copies').execute()
  })
}

/**
 * When the library's folders were last compared with the catalogue from end to end; `undefined` until that is done
 * after a rebuild.
 */
export async function findWalk(db: Database): Promise<Date | undefined> {
  return (await db.selectFrom('library').select('walked_at').executeTakeFirst())?.walked_at ?? undefined
}

/** Says that they have just been compared. */
export async function recordWalk(db: Database, now: Date): Promise<void> {
  await db.updateTable('library').set({ walked_at: now }).execute()
}

/** The path up to which old originals have been looked at; null if all have been, or there are none to be. */
export async function findLookedUntil(db: Database): Promise<string | null> {
  const library = await db.selectFrom('library').select('looked_until').executeTakeFirst()
  return library === undefined ? '' : library.looked_until
}

/** Says up to which path they have been looked at; null: all. */
export async function recordLookedUntil(db: Database, path: string | null): Promise<void> {
  await db.updateTable('library').set({ looked_until: path }).execute()
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
    update library set stopped_cleanly = false
    from (select stopped_cleanly as was from library for update) as before
    returning was
  `.execute(db)
  return rows[0]?.was ?? false
}

/** Says that it has ended cleanly: nothing lies on the drive that an upload has left there without a record. */
export async function endRun(db: Database): Promise<void> {
  await db.updateTable('library').set({ stopped_cleanly: true }).execute()
}
