import { type Kysely, sql } from 'kysely'
import type { Database } from '../catalogue/connection.ts'
import { prepareForLargeSets } from './0002-library.ts'

/**
 * Originals times places is copies. A place is the library (number 0) or a mirror; a copy is what is known of one
 * original in one place. `files` keeps what is true of an original wherever it lies. The rows of `copies` are filled in
 * afterwards, in portions, before anything reads them (`fillCopies`; `places.listed_until` says how far that has come);
 * `0016-copies` then takes away what they replace.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await prepareForLargeSets(db)
  await sql`
    create table places (
      id smallint primary key check ((id = 0) = (role = 'library')),
      role text not null check (role in ('library', 'mirror')),
      identity uuid unique,
      since timestamptz,
      folder text,
      mount_point text,
      listed_until text collate "C",
      walked_at timestamptz,
      looked_until text collate "C",
      stopped_cleanly boolean not null default false
    )`.execute(db)
  await sql`
    insert into places (
      id, role, identity, since, folder, mount_point, listed_until, walked_at, looked_until, stopped_cleanly
    )
    select
      0, 'library', id, since, folder, mount_point, '', walked_at,
      case when id is null then '' else looked_until end, coalesce(stopped_cleanly, false)
    from (select) as once left join library on true
    union all
    select 1, 'mirror', mirror_id, since, null, null, '', null, null, false from library where mirror_id is not null`.execute(
    db,
  )
  await sql`alter table copies rename to mirror_copies`.execute(db)
  await sql`
    create table copies (
      place smallint not null references places,
      path text collate "C" not null references files (path) on update cascade on delete cascade,
      wanted_since timestamptz,
      lost_at timestamptz,
      copied_at timestamptz,
      verified_at timestamptz,
      recheck boolean not null default false,
      check (lost_at is null or wanted_since is not null),
      primary key (place, path)
    )`.execute(db)
  await sql`
    create table place_totals (
      place smallint not null,
      state text not null check (state in ('intact', 'unverified', 'unread', 'lost', 'wanted')),
      kind text not null check (kind in ('photo', 'video')),
      files bigint not null,
      bytes numeric not null,
      primary key (place, state, kind)
    )`.execute(db)
}

/** Originals whose copies are written in one transaction: a second's work on a Raspberry Pi. */
const PORTION = 10_000

/**
 * Fills `copies` with what `files` and the table of the mirror's copies say; goes on where it was interrupted. `report`
 * is told how many originals have been done since it began.
 */
export async function fillCopies(db: Database, report: (originals: number) => void): Promise<void> {
  for (let done = 0; ; done += PORTION) {
    const { rows: places } = await sql<{ until: string | null }>`
      select listed_until as until from places where id = 0`.execute(db)
    const after = places[0]?.until ?? null
    if (after === null) return
    const { rows } = await sql<{ until: string | null }>`
      with portion as materialized (
        select * from files where path > ${after} order by path limit ${sql.lit(PORTION)}
      ), library as (
        insert into copies (place, path, copied_at, verified_at, wanted_since, lost_at, recheck)
        select 0, path, stored_at, verified_at, missing_at, missing_at, recheck from portion
      ), mirror as (
        insert into copies (place, path, copied_at, verified_at, recheck, wanted_since)
        select
          1, path, copied_at, nullif(mirror_copies.verified_at, '-infinity'),
          coalesce(mirror_copies.verified_at = '-infinity', false),
          case when mirror_copies.path is null then coalesce(stored_at, now()) end
        from portion left join mirror_copies using (path)
        where checksum is not null and exists (select from places where id = 1)
      )
      update places set listed_until = (select max(path) from portion)
      returning listed_until as until
    `.execute(db)
    if (rows[0]?.until == null) return
    report(done + PORTION)
  }
}
