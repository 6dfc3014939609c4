import { type Kysely, sql } from 'kysely'

/**
 * What is needed to tell whose word a row is: where its bytes came from, whether its asset id came with them, and the
 * capture date that this server has found in them. Rows from before say nothing of it.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table backups add column sent_from text, add column is_identified boolean not null default false`.execute(db)
  await sql`alter table files add column own_date timestamptz`.execute(db)
  // Without an id, what another address announces is another asset.
  await sql`drop index backups_announced`.execute(db)
  await sql`
    create unique index backups_announced on backups (
      asset_key, coalesce(asset_id, ''), (case when asset_id is null then coalesce(created, 0) else 0 end),
      (case when asset_id is null then coalesce(announced_from, '') else '' end)
    ) where status = 'Pending'`.execute(db)
}
