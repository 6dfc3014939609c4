import { type Kysely, sql } from 'kysely'

/**
 * What is needed for alarms to end, and to be told again: what a person has accepted, what has been told, who has
 * looked in.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table findings
      add column accepted_at timestamptz,
      add column is_told boolean not null default false`.execute(db)
  // What was healed before is no news.
  await sql`update findings set is_told = true`.execute(db)
  await sql`create index findings_healed on findings (healed_at) where healed_at is not null`.execute(db)
  await sql`
    alter table alerts
      add column is_note boolean not null default false,
      add column found bigint,
      add column edition integer not null default 1,
      add column began_at timestamptz`.execute(db)
  await sql`update alerts set began_at = raised_at`.execute(db)
  await sql`alter table alerts alter column began_at set not null`.execute(db)
  await sql`alter table alert_receipts add column edition integer not null default 1`.execute(db)
  await sql`
    create table devices (
      device_id text primary key,
      last_seen timestamptz,
      has_announced boolean not null default false,
      forgotten_at timestamptz
    )`.execute(db)
  await sql`
    insert into devices (device_id, has_announced)
    select distinct coalesce(device_id, 'unknown'), true from backups where announced_from is not null`.execute(db)
}
