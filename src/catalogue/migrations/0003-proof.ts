import { type Kysely, sql } from 'kysely'

/** What is needed to prove that every original is there: when it was read back, what was found, and where its second copy is. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table files add column recheck boolean not null default false`.execute(db)
  // In the order in which they are due to be read again.
  await sql`create index files_due on files (coalesce(verified_at, stored_at, '-infinity'::timestamptz), path)`.execute(
    db,
  )
  await sql`create index files_recheck on files (path) where recheck`.execute(db)
  await sql`create index files_missing on files (path) where missing_at is not null`.execute(db)
  await sql`
    alter table library
      add column mirror_id uuid,
      add column journal_complete boolean not null default false,
      add column walked_at timestamptz`.execute(db)
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
      message text not null,
      raised_at timestamptz not null,
      cleared_at timestamptz,
      told_at timestamptz
    )`.execute(db)
}
