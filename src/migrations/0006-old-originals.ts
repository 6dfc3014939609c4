import { type Kysely, sql } from 'kysely'
import { prepareForLargeSets } from './0002-library.ts'

/**
 * What an older server says of its files is looked at before it is believed: `library.looked_until` is the path up to
 * which that has been done, null when it has been done for all. What has been read already tells now which rows speak
 * of another file.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await prepareForLargeSets(db)
  await sql`alter table library add column looked_until text collate "C" default ''`.execute(db)
  const { rows } = await sql<{ changed: boolean }>`
    with unseen as (
      update files set missing_at = null
      where checksum is null and missing_at is not null and not exists (
        select from findings where findings.path = files.path and copy = 'library' and healed_at is null
      )
      returning path
    ), refuted as (
      update backups set
        status = 'Failed', file_path = null, failure = case
          when judged.size is null then 'An older server has not said where in the library it is; it is asked for again.'
          else format(
            'An older server has put another file in its place (%s, %s bytes instead of %s); it is asked for again.',
            judged.path, judged.size, judged.said
          )
        end
      from (
        select backups.id, files.path, files.size, backups.file_size as said
        from backups left join files on files.path = backups.file_path
        where backups.status = 'Completed' and (
          files.path is null or (files.checksum is not null and backups.file_size <> files.size)
        )
      ) as judged
      where backups.id = judged.id
      returning backups.id
    )
    select exists (select from unseen) or exists (select from refuted) as changed`.execute(db)
  // The journal on the drive does not know of it.
  if (rows[0]?.changed) await sql`update library set journal_complete = false`.execute(db)
  // Tables that were just filled have no statistics, and plans that are made now serve for long. Of one that was never
  // looked at PostgreSQL expects that it will grow, of an empty one that was, that it stays as small: a plan for that
  // reads all of it once it is not.
  for (const table of ['backups', 'files', 'ignored_files']) {
    const { rows } = await sql<{ isFilled: boolean }>`
      select exists (select from ${sql.table(table)}) as "isFilled"`.execute(db)
    if (rows[0]?.isFilled) await sql`analyze ${sql.table(table)}`.execute(db)
  }
}
