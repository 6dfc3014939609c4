import { type Kysely, type RawBuilder, sql } from 'kysely'
import { prepareForLargeSets } from './0002-library.ts'

/**
 * Counts what others can make grow, by who has made it grow, so that it can be bounded; and counts nothing that can
 * overflow: a list may claim 2^53 bytes for each of its files. Everything that is counted is counted anew.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await prepareForLargeSets(db)
  await sumWithoutBound(db)
  await createShares(db)
  await countBackups(db)
  await countIgnored(db)
  // Announcements are made one list at a time, under a lock, each where none is there yet: to make sure of it once more
  // took a quarter of what a new list takes.
  await sql`drop index backups_announced`.execute(db)
}

/** Nobody asks for the bytes of what was announced. Those of originals are decimals without a bound. */
async function sumWithoutBound(db: Kysely<unknown>): Promise<void> {
  await sql`alter table backup_totals drop column bytes`.execute(db)
  await sql`drop view library_size`.execute(db)
  await sql`alter table file_totals alter column bytes type numeric`.execute(db)
  await sql`
    create view library_size as
    select true as singleton, coalesce(sum(files), 0)::bigint as files, coalesce(sum(bytes), 0) as bytes
    from file_totals where state <> 'lost'`.execute(db)
  await sql`
    update file_totals set files = counted.files, bytes = counted.bytes
    from (
      select totals.state, totals.kind, count(files.path) as files, coalesce(sum(files.size), 0) as bytes
      from file_totals as totals left join files on totals.state = ${STATE} and totals.kind = ${KIND}
      group by totals.state, totals.kind
    ) as counted
    where file_totals.state = counted.state and file_totals.kind = counted.kind`.execute(db)
}

/** As the migration `0006-originals-by-kind` has them. */
const STATE = sql`
  case
    when files.missing_at is not null then 'lost'
    when files.checksum is null then 'unread'
    when files.verified_at is null then 'unverified'
    else 'intact'
  end`
const KIND = sql`
  case
    when media_type like 'video/%' or (media_type is null and path ~* '[.](mov|mp4|m4v|3gp|avi|mkv)$') then 'video'
    else 'photo'
  end`

/**
 * Who has what of the rows that a list makes: those that wait for their files, and those that are ignored. `address` is
 * a client's, of IPv6 its network alone (a client has as many addresses there as it likes); empty where it is not
 * known.
 */
async function createShares(db: Kysely<unknown>): Promise<void> {
  await sql`
    create function iclood_share_of(address text) returns text
    language sql immutable parallel safe as $$
      select case
        when address like '%:%' then array_to_string(
          (string_to_array(split_part(address, '::', 1), ':') || array['0', '0', '0', '0'])[1:4], ':'
        )
        else coalesce(address, '')
      end
    $$`.execute(db)
  await sql`
    create table row_shares (
      what text not null check (what in ('waiting', 'ignored')),
      address text not null,
      device_id text not null,
      count bigint not null,
      primary key (what, address, device_id)
    )`.execute(db)
  await sql`alter table ignored_files add column ignored_from text`.execute(db)
}

/** Who a row counts for while it waits for its file; null once it does not. */
const WAITS_FOR = sql`
  case when announced_from is not null and (status = 'Pending' or (status = 'Failed' and file_path is null))
    then announced_from
  end`

async function countBackups(db: Kysely<unknown>): Promise<void> {
  const add = (changed: RawBuilder<unknown>) => sql`
    with changed as materialized (
      select coalesce(device_id, 'unknown') as device_id, status, file_type, ${WAITS_FOR} as address, sum(sign) as count
      from (${changed}) as changed
      group by 1, 2, 3, 4
      having sum(sign) <> 0
    ), shared as (
      insert into row_shares (what, address, device_id, count)
      select 'waiting', iclood_share_of(address), device_id, sum(count)
      from changed where address is not null group by 2, 3
      on conflict (what, address, device_id) do update set count = row_shares.count + excluded.count
    )
    insert into backup_totals (device_id, status, file_type, count)
    select device_id, status, file_type, sum(count) from changed group by 1, 2, 3
    on conflict (device_id, status, file_type) do update set count = backup_totals.count + excluded.count`
  await sql`update backup_totals set count = 0`.execute(db)
  await sql`
    insert into backup_totals (device_id, status, file_type, count)
    select coalesce(device_id, 'unknown'), status, file_type, count(*) from backups group by 1, 2, 3
    on conflict (device_id, status, file_type) do update set count = excluded.count`.execute(db)
  await sql`
    insert into row_shares (what, address, device_id, count)
    select 'waiting', iclood_share_of(address), device_id, sum(count)
    from (
      select ${WAITS_FOR} as address, coalesce(device_id, 'unknown') as device_id, count(*) as count
      from backups group by 1, 2
    ) as counted
    where address is not null
    group by 2, 3`.execute(db)
  const added = sql`select 1 as sign, * from new_rows`
  const removed = sql`select -1 as sign, * from old_rows`
  await replaceFunction(db, 'iclood_backups_insert', add(added))
  await replaceFunction(db, 'iclood_backups_update', add(sql`${removed} union all ${added}`))
  await replaceFunction(db, 'iclood_backups_delete', add(removed))
  await replaceFunction(
    db,
    'iclood_backups_truncate',
    sql`delete from backup_totals; delete from row_shares where what = 'waiting'`,
  )
}

async function countIgnored(db: Kysely<unknown>): Promise<void> {
  const add = (sign: number, rows: string) => sql`
    insert into row_shares (what, address, device_id, count)
    select 'ignored', iclood_share_of(ignored_from), coalesce(device_id, 'unknown'), count(*) * ${sql.lit(sign)}
    from ${sql.table(rows)} group by 2, 3
    on conflict (what, address, device_id) do update set count = row_shares.count + excluded.count`
  await add(1, 'ignored_files').execute(db)
  const events = [
    { event: 'insert', rows: sql`referencing new table as new_rows`, change: add(1, 'new_rows') },
    { event: 'delete', rows: sql`referencing old table as old_rows`, change: add(-1, 'old_rows') },
    { event: 'truncate', rows: sql``, change: sql`delete from row_shares where what = 'ignored'` },
  ]
  for (const { event, rows, change } of events) {
    const name = `iclood_ignored_files_${event}`
    await replaceFunction(db, name, change, IGNORING)
    await sql`
      create trigger ${sql.id(name)} after ${sql.raw(event)} on ignored_files ${rows}
      for each statement execute function ${sql.id(name)}()`.execute(db)
  }
}

/** Advisory locks: that of all counts, and that of who ignores, who changes other rows afterwards. */
const COUNTING = 1
const IGNORING = 2

async function replaceFunction(
  db: Kysely<unknown>,
  name: string,
  change: RawBuilder<unknown>,
  lock = COUNTING,
): Promise<void> {
  // One writer at a time, until its commit, as in `0002-library`.
  await sql`
    create or replace function ${sql.id(name)}() returns trigger language plpgsql as $$
    begin
      perform pg_advisory_xact_lock(7236844, ${sql.lit(lock)});
      ${change};
      return null;
    end
    $$`.execute(db)
}
