import { type Kysely, sql } from 'kysely'

/**
 * What is needed to prove that every original is there: when it was read back, what was found, and where its second
 * copy is.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table files add column recheck boolean not null default false`.execute(db)
  // In the order in which they are due to be read again.
  await sql`create index files_due on files (coalesce(verified_at, stored_at, '-infinity'::timestamptz), path)`.execute(
    db,
  )
  await sql`create index files_verified on files (verified_at) where verified_at is not null and missing_at is null`.execute(
    db,
  )
  await sql`create index files_recheck on files (path) where recheck`.execute(db)
  await sql`create index files_missing on files (path) where missing_at is not null`.execute(db)
  await sql`
    alter table library
      add column mirror_id uuid,
      add column journal_complete boolean not null default false,
      add column walked_at timestamptz`.execute(db)
  // Only a rebuild that was interrupted leaves a library that nobody has walked.
  await sql`update library set walked_at = now()`.execute(db)
  await sql`
    create table unwritten (
      what text not null check (what in ('backup', 'original', 'ignored')),
      key text collate "C" not null,
      primary key (what, key)
    )`.execute(db)
  await sql`
    create table copies (
      path text collate "C" primary key references files (path) on update cascade on delete cascade,
      copied_at timestamptz not null,
      verified_at timestamptz
    )`.execute(db)
  await sql`create index copies_due on copies (coalesce(verified_at, copied_at), path)`.execute(db)
  await sql`
    create table findings (
      id bigint generated always as identity primary key,
      copy text not null check (copy in ('library', 'mirror')),
      kind text not null check (kind in ('missing', 'corrupt', 'unreadable', 'unknown', 'sums')),
      path text collate "C" not null,
      expected text,
      found text,
      quarantined text,
      found_at timestamptz not null,
      healed_at timestamptz,
      healed_by text
    )`.execute(db)
  await sql`create unique index findings_open on findings (copy, path, kind) where healed_at is null`.execute(db)
  await sql`
    create table alerts (
      key text primary key,
      severity text not null check (severity in ('warning', 'error')),
      title text not null,
      message text not null,
      since timestamptz not null,
      raised_at timestamptz not null,
      cleared_at timestamptz
    )`.execute(db)
  await sql`
    create table alert_receipts (
      key text references alerts (key) on delete cascade,
      receiver text,
      told_at timestamptz not null,
      primary key (key, receiver)
    )`.execute(db)
  // When a device was first heard of, for those that never get any further.
  await sql`alter table backup_totals add column since timestamptz not null default now()`.execute(db)
  await countFilesByState(db)
}

/**
 * What is known of each original, counted: the triggers that kept `library_size` keep this instead, so that it costs
 * the same at ten originals and at a million. `library_size` becomes a view of it.
 */
async function countFilesByState(db: Kysely<unknown>): Promise<void> {
  const state = sql`
    case
      when missing_at is not null then 'lost'
      when checksum is null then 'unread'
      when verified_at is null then 'unverified'
      else 'intact'
    end`
  await sql`
    create table file_totals (
      state text primary key check (state in ('intact', 'unverified', 'unread', 'lost')),
      files bigint not null,
      bytes bigint not null
    )`.execute(db)
  await sql`
    insert into file_totals (state, files, bytes)
    select known.state, count(files.path), coalesce(sum(files.size), 0)
    from unnest(array['intact', 'unverified', 'unread', 'lost']) as known (state)
      left join files on ${state} = known.state
    group by known.state`.execute(db)
  const removed = sql`select -1 as sign, * from old_rows`
  const added = sql`select 1 as sign, * from new_rows`
  for (const [event, changed] of [
    ['insert', added],
    ['update', sql`${removed} union all ${added}`],
    ['delete', removed],
  ] as const) {
    // One writer at a time, as in the migration before: two that change the same totals would wait for each other.
    await sql`
      create or replace function ${sql.id(`iclood_files_${event}`)}() returns trigger language plpgsql as $$
      begin
        perform pg_advisory_xact_lock(7236844, 1);
        update file_totals
        set files = file_totals.files + change.files, bytes = file_totals.bytes + change.bytes
        from (
          select ${state} as state, sum(sign) as files, coalesce(sum(sign * size), 0) as bytes
          from (${changed}) as changed
          group by 1
        ) as change
        where file_totals.state = change.state and (change.files <> 0 or change.bytes <> 0);
        return null;
      end
      $$`.execute(db)
  }
  await sql`
    create or replace function iclood_files_truncate() returns trigger language plpgsql as $$
    begin
      perform pg_advisory_xact_lock(7236844, 1);
      update file_totals set files = 0, bytes = 0;
      return null;
    end
    $$`.execute(db)
  await sql`drop table library_size`.execute(db)
  await sql`
    create view library_size as
    select true as singleton, coalesce(sum(files), 0)::bigint as files, coalesce(sum(bytes), 0)::bigint as bytes
    from file_totals where state <> 'lost'`.execute(db)
}
