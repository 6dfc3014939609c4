import { type Kysely, type RawBuilder, sql } from 'kysely'
import { prepareForLargeSets } from './0002-library.ts'
import { TOLD, tell } from './0014-outbox.ts'

/**
 * `copies` is whole: from now on it is kept, counted and searched, and `files` says nothing of places any more. A new
 * original is in the library and wanted on every mirror, by trigger, whoever adds it.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await prepareForLargeSets(db)
  await sql`drop table mirror_copies`.execute(db)
  await sql`drop table library`.execute(db)
  await dropOldCounts(db)
  await tellOfCopies(db)
  await sql`
    alter table files drop column verified_at, drop column missing_at, drop column recheck`.execute(db)
  await placeFindings(db)
  await createIndexes(db)
  await createView(db)
  await keepCopies(db)
  await keepTotals(db)
  // Of a table that was found empty PostgreSQL expects that it stays so.
  const { rows } = await sql<{ isFilled: boolean }>`select exists (select from copies) as "isFilled"`.execute(db)
  if (rows[0]?.isFilled) await sql`analyze copies`.execute(db)
}

async function dropOldCounts(db: Kysely<unknown>): Promise<void> {
  for (const event of ['insert', 'update', 'delete', 'truncate']) {
    await sql`drop trigger ${sql.id(`iclood_files_${event}`)} on files`.execute(db)
    await sql`drop function ${sql.id(`iclood_files_${event}`)}()`.execute(db)
  }
  await sql`drop view library_size`.execute(db)
  await sql`drop table file_totals`.execute(db)
}

/** A finding is about a place, not only about a kind of place. */
async function placeFindings(db: Kysely<unknown>): Promise<void> {
  await sql`drop index findings_open`.execute(db)
  await sql`alter table findings add column place smallint not null default 0`.execute(db)
  await sql`update findings set place = 1 where copy = 'mirror'`.execute(db)
  await sql`alter table findings alter column place drop default, drop column copy`.execute(db)
  await sql`create unique index findings_open on findings (place, path, kind) where healed_at is null`.execute(db)
}

/**
 * The journal says of an original when its copy in the library was last read back: that is no fact of `files` any more.
 */
async function tellOfCopies(db: Kysely<unknown>): Promise<void> {
  for (const event of ['insert', 'update', 'delete']) {
    await sql`drop trigger ${sql.id(`iclood_tell_files_${event}`)} on files`.execute(db)
    await sql`drop function ${sql.id(`iclood_tell_files_${event}`)}()`.execute(db)
  }
  const files = TOLD.find(({ table }) => table === 'files')
  if (files === undefined) throw new Error('nothing tells of originals')
  await tell(db, { ...files, facts: files.facts.filter((fact) => fact !== 'verified_at') })
  const changed = sql`
    from new_rows join old_rows using (place, path)
    where place = 0 and new_rows.verified_at is distinct from old_rows.verified_at`
  await sql`
    create function iclood_tell_copies_update() returns trigger language plpgsql as $$
    begin
      if current_setting('iclood.outbox', true) = 'snapshot' then
        insert into outbox (what, key) select 'snapshot', '' where exists (select ${changed});
      else
        insert into outbox (what, key) select 'facts', path ${changed};
      end if;
      return null;
    end
    $$`.execute(db)
  await sql`
    create trigger iclood_tell_copies_update after update on copies
    referencing old table as old_rows new table as new_rows
    for each statement execute function iclood_tell_copies_update()`.execute(db)
}

async function createIndexes(db: Kysely<unknown>): Promise<void> {
  // The one before went with the column that it named.
  await sql`create index files_unread on files (size) where checksum is null`.execute(db)
  // In the order in which they are due to be read again.
  await sql`
    create index copies_due on copies (place, coalesce(verified_at, copied_at, '-infinity'::timestamptz), path)
    where wanted_since is null`.execute(db)
  await sql`
    create index copies_verified on copies (place, verified_at)
    where verified_at is not null and wanted_since is null`.execute(db)
  await sql`create index copies_recheck on copies (place, path) where recheck`.execute(db)
  await sql`create index copies_lost on copies (place, path) where lost_at is not null`.execute(db)
  // The newest first: what has just come is what a phone may soon not have any more.
  await sql`
    create index copies_wanted on copies (place, wanted_since desc, path) where wanted_since is not null`.execute(db)
}

/** An original with what is known of it in the library. */
async function createView(db: Kysely<unknown>): Promise<void> {
  await sql`
    create view originals as
    select files.*, copies.lost_at, copies.copied_at, copies.verified_at, copies.recheck
    from files left join copies on copies.path = files.path and copies.place = 0`.execute(db)
}

async function keepCopies(db: Kysely<unknown>): Promise<void> {
  const wanted = sql`
    insert into copies (place, path, wanted_since)
    select places.id, rows.path, coalesce(rows.stored_at, now())
    from new_rows as rows, places
    where places.role = 'mirror' and rows.checksum is not null
    on conflict do nothing`
  await createTrigger(
    db,
    'files_insert',
    sql`after insert on files referencing new table as new_rows`,
    sql`
    insert into copies (place, path, copied_at) select 0, path, stored_at from new_rows;
    ${wanted}`,
  )
  // What nobody has read yet is no original that could be copied.
  await createTrigger(
    db,
    'files_update',
    sql`after update on files referencing old table as old_rows new table as new_rows`,
    sql`
    if exists (select from old_rows where checksum is null) then
      ${wanted};
    end if;
    ${count(sql`${changed(-1, sql`copies`, sql`old_rows`)} union all ${changed(1, sql`copies`, sql`new_rows`)}`)}`,
  )
  // While the original is there, so that what is counted is known.
  await sql`
    create function iclood_files_delete() returns trigger language plpgsql as $$
    begin
      delete from copies where path = old.path;
      return old;
    end
    $$`.execute(db)
  await sql`
    create trigger iclood_files_delete before delete on files
    for each row execute function iclood_files_delete()`.execute(db)
}

async function keepTotals(db: Kysely<unknown>): Promise<void> {
  const added = changed(1, sql`new_rows`, sql`files`)
  const removed = changed(-1, sql`old_rows`, sql`files`)
  await sql`delete from place_totals`.execute(db)
  await count(changed(1, sql`copies`, sql`files`)).execute(db)
  await createTrigger(db, 'copies_insert', sql`after insert on copies referencing new table as new_rows`, count(added))
  await createTrigger(
    db,
    'copies_update',
    sql`after update on copies referencing old table as old_rows new table as new_rows`,
    count(sql`${removed} union all ${added}`),
  )
  await createTrigger(
    db,
    'copies_delete',
    sql`after delete on copies referencing old table as old_rows`,
    count(removed),
  )
  await createTrigger(db, 'copies_truncate', sql`after truncate on copies`, sql`delete from place_totals`)
  await sql`
    create view library_size as
    select coalesce(sum(files), 0)::bigint as files, coalesce(sum(bytes), 0) as bytes
    from place_totals where place = 0 and state <> 'lost'`.execute(db)
}

/** What has not been read is what it is called. */
const KIND = sql`
  case
    when media_type like 'video/%' or (media_type is null and path ~* '[.](mov|mp4|m4v|3gp|avi|mkv)$') then 'video'
    else 'photo'
  end`

/** Copies of one of the tables, with their originals of the other: what is added to the totals, or taken away. */
function changed(sign: 1 | -1, copies: RawBuilder<unknown>, originals: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`
    select
      ${sql.lit(sign)} as sign, place, size, ${KIND} as kind,
      case
        when lost_at is not null then 'lost'
        when wanted_since is not null then 'wanted'
        when checksum is null then 'unread'
        when verified_at is null then 'unverified'
        else 'intact'
      end as state
    from ${copies} as copy join ${originals} as original using (path)`
}

function count(changes: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`
    insert into place_totals (place, state, kind, files, bytes)
    select place, state, kind, sum(sign), coalesce(sum(sign * size::numeric), 0)
    from (${changes}) as changes
    group by 1, 2, 3
    having sum(sign) <> 0 or coalesce(sum(sign * size::numeric), 0) <> 0
    on conflict (place, state, kind) do update
      set files = place_totals.files + excluded.files, bytes = place_totals.bytes + excluded.bytes`
}

async function createTrigger(
  db: Kysely<unknown>,
  name: string,
  event: RawBuilder<unknown>,
  action: RawBuilder<unknown>,
): Promise<void> {
  const full = sql.id(`iclood_${name}`)
  // One writer of counts at a time, until its commit: two that touch the same totals in different orders would wait for
  // each other.
  await sql`
    create function ${full}() returns trigger language plpgsql as $$
    begin
      perform pg_advisory_xact_lock(7236844, 1);
      ${action};
      return null;
    end
    $$`.execute(db)
  await sql`create trigger ${full} ${event} for each statement execute function ${full}()`.execute(db)
}
