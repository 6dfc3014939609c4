import { type Kysely, sql } from 'kysely'
import { prepareForLargeSets } from './0002-library.ts'

const STATE = sql`
  case
    when missing_at is not null then 'lost'
    when checksum is null then 'unread'
    when verified_at is null then 'unverified'
    else 'intact'
  end`

/** What has not been read is what it is called. */
const KIND = sql`
  case
    when media_type like 'video/%' or (media_type is null and path ~* '[.](mov|mp4|m4v|3gp|avi|mkv)$') then 'video'
    else 'photo'
  end`

/**
 * Counts originals by kind, too: how many photos and videos are on the drive is told by what lies there. Phones that
 * have the same photo have a row of `backups` each.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await prepareForLargeSets(db)
  await sql`
    alter table file_totals
      add column kind text not null default 'photo' check (kind in ('photo', 'video')),
      drop constraint file_totals_pkey,
      add primary key (state, kind)`.execute(db)
  await sql`delete from file_totals`.execute(db)
  await sql`
    insert into file_totals (state, kind, files, bytes)
    select known.state, known.kind, coalesce(counted.files, 0), coalesce(counted.bytes, 0)
    from (
      select * from unnest(array['intact', 'unverified', 'unread', 'lost']) as state, unnest(array['photo', 'video']) as kind
    ) as known left join (
      select ${STATE} as state, ${KIND} as kind, count(*) as files, coalesce(sum(size), 0) as bytes from files group by 1, 2
    ) as counted using (state, kind)`.execute(db)
  const removed = sql`select -1 as sign, * from old_rows`
  const added = sql`select 1 as sign, * from new_rows`
  for (const [event, changed] of [
    ['insert', added],
    ['update', sql`${removed} union all ${added}`],
    ['delete', removed],
  ] as const) {
    await sql`
      create or replace function ${sql.id(`iclood_files_${event}`)}() returns trigger language plpgsql as $$
      begin
        perform pg_advisory_xact_lock(7236844, 1);
        update file_totals
        set files = file_totals.files + change.files, bytes = file_totals.bytes + change.bytes
        from (
          select ${STATE} as state, ${KIND} as kind, sum(sign) as files, coalesce(sum(sign * size), 0) as bytes
          from (${changed}) as changed
          group by 1, 2
        ) as change
        where file_totals.state = change.state and file_totals.kind = change.kind
          and (change.files <> 0 or change.bytes <> 0);
        return null;
      end
      $$`.execute(db)
  }
}
