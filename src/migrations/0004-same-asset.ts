import { type Kysely, sql } from 'kysely'
import { prepareForLargeSets } from './0002-library.ts'

/** What is needed to tell assets apart: what an ignore knows of its asset, and what exports have in common. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await prepareForLargeSets(db)
  await rememberIgnored(db)
  await findExports(db)
  await keepAnnouncementsApart(db)
  await readSeconds(db)
}

/** Ignores from before know the path, and some the id: the rest is what was announced under that path. */
async function rememberIgnored(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table ignored_files add column created double precision, add column announced_size bigint`.execute(db)
  await sql`
    update ignored_files set asset_id = known.asset_id, created = known.created, announced_size = known.announced_size
    from (
      select distinct on (ignored_files.id)
        ignored_files.id, backups.asset_id, backups.created, backups.announced_size
      from ignored_files join backups on backups.asset_key = ignored_files.asset_key
      where ignored_files.asset_id is null or ignored_files.asset_id = backups.asset_id
      order by ignored_files.id, backups.status = 'Completed', backups.timestamp desc nulls last, backups.id desc
    ) as known
    where known.id = ignored_files.id and num_nonnulls(known.asset_id, known.created, known.announced_size) > 0
    `.execute(db)
}

/**
 * What the exports of one video have in common, whatever their paths: its device, the phone's own id (`…/L0/001`) and
 * the kind of file. Null for everything that does not lie in an app's own container, and for edits.
 */
async function findExports(db: Kysely<unknown>): Promise<void> {
  await sql`
    create function iclood_export_key(device_id text, asset_id text, path text) returns uuid
    language sql immutable parallel safe as $$
      select case
        when asset_id like '%/L0/%' and path like '%/Containers/%' and path not like '%/PhotoData/Mutations/%' then
          md5(coalesce(device_id, 'unknown') || chr(10) || asset_id || chr(10) ||
            coalesce(lower(substring(split_part(path, '#', 1) from '[.]([^./]+)$')), ''))::uuid
      end
    $$`.execute(db)
  for (const table of ['backups', 'ignored_files']) {
    await sql`
      create index ${sql.ref(`${table}_exported`)} on ${sql.table(table)} (
        iclood_export_key(device_id, asset_id, original_path)
      ) where iclood_export_key(device_id, asset_id, original_path) is not null`.execute(db)
  }
}

/** Without an id, only the date tells whether two phones mean two photos by one path. */
async function keepAnnouncementsApart(db: Kysely<unknown>): Promise<void> {
  await sql`drop index backups_announced`.execute(db)
  await sql`
    create unique index backups_announced on backups (
      asset_key, coalesce(asset_id, ''), (case when asset_id is null then coalesce(created, 0) else 0 end)
    ) where status = 'Pending'`.execute(db)
  // Those that nobody sends go, the oldest first.
  await sql`
    create index backups_pending on backups (coalesce(device_id, 'unknown'), timestamp) where status = 'Pending'
    `.execute(db)
}

/** Seconds were taken for milliseconds: no phone means the first year after 1970. */
async function readSeconds(db: Kysely<unknown>): Promise<void> {
  const isSeconds = (column: string) => sql`abs(${sql.ref(column)}) < 31536000000`
  for (const column of ['created', 'modified']) {
    await sql`
      update backups set ${sql.ref(column)} = nullif(${sql.ref(column)} * 1000, 0) where ${isSeconds(column)}
      `.execute(db)
  }
}
