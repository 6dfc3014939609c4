import { sql } from 'kysely'
import type { Checksum } from '../media/checksum.ts'
import type { Database } from './connection.ts'

/** An original as the catalogue has it. */
export interface Catalogued {
  path: string
  size: number | null
  /** Null if it has not been read yet. */
  checksum: Checksum | null
  isLost: boolean
  /** Whether a finding tells that it is lost. */
  isReported: boolean
}

/** Returns the folders that the catalogue has originals in, in order; `''` is the library itself. Reads every path. */
export async function listFolders(db: Database): Promise<string[]> {
  const { rows } = await sql<{ folder: string }>`
    select distinct coalesce(substring(path from '^(.*)/'), '') collate "C" as folder from files order by folder
  `.execute(db)
  return rows.map((row) => row.folder)
}

/** Returns what the catalogue has in a folder, not below it, in order. */
export async function listFolder(db: Database, folder: string): Promise<Catalogued[]> {
  const within = folder === '' ? sql`true` : sql`path > ${`${folder}/`} and path < ${`${folder}0`}`
  const { rows } = await sql<Catalogued>`
    select
      path, size, encode(checksum, 'hex') as checksum, missing_at is not null as "isLost",
      missing_at is not null and exists (
        select from findings
        where findings.path = files.path and copy = 'library' and kind in ('missing', 'corrupt', 'unreadable')
          and healed_at is null
      ) as "isReported"
    from files
    where ${within} and strpos(substr(path, case when ${folder} = '' then 1 else length(${folder}) + 2 end), '/') = 0
    order by path
  `.execute(db)
  return rows
}

/** A file on the drive that nobody has told the catalogue of. */
export interface Stranger {
  path: string
  size: number
  storedAt: Date
}

/**
 * Records files as originals that have not been read yet. Those that the catalogue has by now stay as they are. Returns
 * the paths of the others.
 */
export async function addUnread(db: Database, files: readonly Stranger[]): Promise<string[]> {
  const { rows } = await sql<{ path: string }>`
    insert into files (path, size, stored_at)
    select * from unnest(
      ${files.map((file) => file.path)}::text[],
      ${files.map((file) => file.size)}::bigint[],
      ${files.map((file) => file.storedAt.toISOString())}::timestamptz[]
    )
    on conflict (path) do nothing
    returning path
  `.execute(db)
  return rows.map((row) => row.path)
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
