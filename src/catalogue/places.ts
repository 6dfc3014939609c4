import { sql } from 'kysely'
import type { Database } from './connection.ts'

/** The number of a place. */
export type PlaceId = number

/** The library itself, which is always there, also before its drive is known; mirrors have higher numbers. */
export const LIBRARY: PlaceId = 0

/** Whether a row of `copies` says that a mirror has the original. */
export const isElsewhere = sql`(copies.place <> ${LIBRARY} and copies.wanted_since is null)`

/** What is known of a place; without a number, of the library. `undefined` if there is none of that number. */
export async function findPlace(db: Database, place: PlaceId = LIBRARY) {
  return db.selectFrom('places').selectAll().where('id', '=', place).executeTakeFirst()
}

/** A mirror: its number, its identity on its drive, and its folder when it was last there. */
export interface MirrorPlace {
  id: PlaceId
  identity: string
  folder: string | null
}

/** Returns the mirrors, in the order in which they came. */
export async function listMirrors(db: Database): Promise<MirrorPlace[]> {
  const { rows } = await sql<MirrorPlace>`
    select id, identity, folder from places where role = 'mirror' order by id
  `.execute(db)
  return rows
}

/**
 * Returns the mirror that one of the `folders` which are wanted is for: the one that was there last, else one that was
 * in none of them, since a drive may be mounted elsewhere now. `undefined` if none is.
 */
export async function findMirrorAt(
  db: Database,
  folder: string,
  folders: readonly string[],
): Promise<MirrorPlace | undefined> {
  const mirrors = await listMirrors(db)
  const isUnplaced = (mirror: MirrorPlace) => mirror.folder === null || !folders.includes(mirror.folder)
  return mirrors.find((mirror) => mirror.folder === folder) ?? mirrors.find(isUnplaced)
}

/** Notes where a mirror is. */
export async function noteMirrorFolder(db: Database, place: PlaceId, folder: string): Promise<void> {
  await sql`
    update places set folder = case when id = ${place} then ${folder} end
    where role = 'mirror' and ((id = ${place} and folder is distinct from ${folder}) or (id <> ${place} and folder = ${folder}))
  `.execute(db)
}

/** Returns the mirror of that identity, made one if it is none yet: then everything is wanted there. */
export async function rememberMirror(db: Database, identity: string): Promise<MirrorPlace> {
  return db.transaction().execute(async (transaction) => {
    await sql`select id from places where id = ${LIBRARY} for update`.execute(transaction)
    await sql`
      insert into places (id, role, identity, since, listed_until)
      select max(id) + 1, 'mirror', ${identity}, now(), '' from places
      on conflict (identity) do nothing
    `.execute(transaction)
    const { rows } = await sql<MirrorPlace>`
      select id, identity, folder from places where identity = ${identity} and role = 'mirror'
    `.execute(transaction)
    if (rows[0] === undefined) throw new Error('a mirror was not remembered')
    return rows[0]
  })
}

/** Forgets a mirror, and what is known of the copies there. */
export async function forgetMirror(db: Database, place: PlaceId): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    await sql`delete from copies where place = ${place} and place <> ${LIBRARY}`.execute(transaction)
    await sql`
      update findings set is_told = true, healed_at = now(), healed_by = 'another drive in its place'
      where place = ${place} and place <> ${LIBRARY} and healed_at is null
    `.execute(transaction)
    await sql`delete from places where id = ${place} and id <> ${LIBRARY}`.execute(transaction)
  })
}

/**
 * Puts up to `portion` further originals on the list of what a new mirror is to have, oldest paths first; what comes
 * new is put there by itself. Returns whether all are.
 */
export async function listForMirror(db: Database, place: PlaceId, portion: number): Promise<boolean> {
  const after = (await findPlace(db, place))?.listed_until ?? null
  if (after === null) return true
  const { rows } = await sql<{ until: string | null }>`
    with portion as materialized (
      select path, checksum, stored_at from files where path > ${after} order by path limit ${sql.lit(portion)}
    ), added as (
      insert into copies (place, path, wanted_since)
      select ${place}, path, coalesce(stored_at, now()) from portion where checksum is not null
      on conflict do nothing
    )
    update places set listed_until = (select max(path) from portion) where id = ${place}
    returning listed_until as until
  `.execute(db)
  return rows[0]?.until == null
}
