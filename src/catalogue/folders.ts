import { type RawBuilder, sql } from 'kysely'
import type { Checksum } from '../media/checksum.ts'
import type { Database } from './connection.ts'
import { LIBRARY, type PlaceId } from './places.ts'

/** An original as the catalogue has it in a folder. */
export interface Listed {
  path: string
  /** Relative to the folder. */
  name: string
  size: number | null
  /** Null if it has not been read yet. */
  checksum: Checksum | null
  storedAt: Date | null
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

/** Whether a `path` lies in a folder such as `2024/07`, or below it; `''` is the library itself. */
export function isBelow(folder: string): RawBuilder<boolean> {
  // From "2024/07/" to "2024/070": "0" is the character after "/".
  return folder === '' ? sql`true` : sql`(path > ${`${folder}/`} and path < ${`${folder}0`})`
}

/**
 * Returns what a place has in a folder and below it, in the order of the paths; with `isDirect` not below it. Of the
 * library what it has lost as well.
 */
export async function listFolder(
  db: Database,
  folder: string,
  { isDirect = false, place = LIBRARY }: { isDirect?: boolean; place?: PlaceId } = {},
): Promise<Listed[]> {
  // PostgreSQL counts characters, not UTF-16 code units.
  const start = folder === '' ? 1 : [...folder].length + 2
  const name = sql`substr(path, ${start}::int)`
  const { rows } = await sql<Listed>`
    select
      path, ${name} as name, size, encode(checksum, 'hex') as checksum, stored_at as "storedAt",
      lost_at is not null as "isLost",
      lost_at is not null and exists (
        select from findings
        where findings.path = copies.path and findings.place = ${LIBRARY} and kind in ('missing', 'corrupt', 'unreadable')
          and healed_at is null
      ) as "isReported"
    from copies join files using (path)
    where copies.place = ${place} and (copies.place = ${LIBRARY} or copies.wanted_since is null)
      and ${isBelow(folder)} ${isDirect ? sql`and strpos(${name}, '/') = 0` : sql``}
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
