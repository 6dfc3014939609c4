import { sql } from 'kysely'
import type { Checksum } from '../media/checksum.ts'
import type { Database } from './connection.ts'
import { retryingDeadlocks } from './deadlock.ts'
import { refute } from './old-originals.ts'
import { LIBRARY } from './places.ts'

/** Returns those of `paths` that the catalogue has. */
export async function findCatalogued(db: Database, paths: readonly string[]): Promise<Set<string>> {
  const { rows } = await sql<{ path: string }>`
    select path from files where path = any(${paths}::text[])
  `.execute(db)
  return new Set(rows.map((row) => row.path))
}

/** Bytes that the library takes: each original once. */
export async function libraryBytes(db: Database): Promise<number> {
  return (await db.selectFrom('library_size').select('bytes').executeTakeFirstOrThrow()).bytes
}

/** Returns which of `checksums` the library has, each with a path and its size. */
export async function findContent(
  db: Database,
  checksums: readonly Checksum[],
): Promise<Map<Checksum, { path: string; size: number }>> {
  const { rows } = await sql<{ checksum: Checksum; path: string; size: number }>`
    select distinct on (files.checksum) encode(files.checksum, 'hex') as checksum, path, size
    from originals as files
    where files.checksum = any(select decode(unnest(${checksums}::text[]), 'hex')) and lost_at is null
    order by files.checksum, stored_at nulls first
  `.execute(db)
  return new Map(rows.map((row) => [row.checksum, row]))
}

/** What reading an original of an older server has told. */
export interface ReadFile {
  path: string
  checksum: Checksum
  size: number
  mediaType: string
  capturedAt: Date | null
  capturedOffset: number | null
  /** Apple's content identifier; null if it has none. */
  contentId: string | null
  /** The capture date that its bytes tell; null if they tell none. */
  ownDate: Date | null
  /** When it was read back from the drive; null if it was not. */
  verifiedAt: Date | null
}

/** Whether all originals are an older server's, and none has been read yet: as at the first start after it. */
export async function isTakenOver(db: Database): Promise<boolean> {
  const { rows } = await sql<{ is: boolean }>`
    select exists (select from files) and not exists (select from files where checksum is not null) as is
  `.execute(db)
  return rows[0]?.is ?? false
}

/** How many originals of an older server have not been read yet, and their bytes as far as the catalogue knows. */
export async function countUnread(db: Database): Promise<{ files: number; bytes: number }> {
  const { rows } = await sql<{ files: number; bytes: number }>`
    select count(*) as files, coalesce(sum(size), 0) as bytes
    from originals where checksum is null and lost_at is null
  `.execute(db)
  return rows[0] ?? { files: 0, bytes: 0 }
}

/** Returns up to `limit` paths, in order, after `after`, whose content has not been read yet. */
export async function listUnread(db: Database, after: string, limit: number): Promise<string[]> {
  const { rows } = await sql<{ path: string }>`
    select path from originals where checksum is null and lost_at is null and path > ${after}
    order by path limit ${sql.lit(limit)}
  `.execute(db)
  return rows.map((row) => row.path)
}

/** Records what was read. A path that has a checksum already keeps it. Backups of another file become `Failed`. */
export async function recordRead(db: Database, file: ReadFile): Promise<void> {
  await retryingDeadlocks(() =>
    db.transaction().execute(async (transaction) => {
      await refute(transaction, [file])
      const { numAffectedRows } = await sql`
        update files set
          checksum = decode(${file.checksum}, 'hex'), size = ${file.size}, media_type = ${file.mediaType},
          captured_at = ${file.capturedAt?.toISOString() ?? null}::timestamptz, captured_offset = ${file.capturedOffset},
          content_id = ${file.contentId}, own_date = ${ownDateColumn(file.ownDate)}::timestamptz
        where path = ${file.path} and checksum is null
      `.execute(transaction)
      if (file.verifiedAt !== null && numAffectedRows === 1n) {
        await sql`
          update copies set verified_at = ${file.verifiedAt.toISOString()}::timestamptz
          where place = ${LIBRARY} and path = ${file.path} and lost_at is null
        `.execute(transaction)
      }
    }),
  )
}

/** What `files.own_date` says of bytes that were looked at: null, there, would say that nobody has. */
export function ownDateColumn(date: Date | null): string {
  return date?.toISOString() ?? '-infinity'
}
