import { type Kysely, type RawBuilder, sql } from 'kysely'

/**
 * Extends the Flask server's tables and adds ours. Every old row stays; times without a zone meant UTC. 200,000 old
 * rows take about two seconds: rows come before their indexes, and are sorted in memory.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await prepareForLargeSets(db)
  await createAssetKey(db)
  await extendBackups(db)
  await extendIgnoredFiles(db)
  await createFiles(db)
  await createTotals(db)
  await sql`
    create table library (
      singleton boolean primary key default true check (singleton),
      id uuid not null,
      since timestamptz not null default now()
    )`.execute(db)
}

/**
 * For the rest of the transaction: the settings for small questions asked again and again do not fit tables that are
 * read as a whole.
 */
export async function prepareForLargeSets(db: Kysely<unknown>): Promise<void> {
  await sql`set local enable_seqscan = on`.execute(db)
  await sql`set local work_mem = '32MB'`.execute(db)
  await sql`set local maintenance_work_mem = '64MB'`.execute(db)
}

/**
 * Device and path as one 16-byte key. Paths can be longer than a B-tree entry, so they are hashed; MD5 only spreads
 * them, and who could make two of them collide could as well send one path twice. Since iOS 18 the phone's `file://`
 * paths end in a fragment that changes between versions of iOS, so it is left out. Rows without a device are those of
 * `unknown`.
 */
async function createAssetKey(db: Kysely<unknown>): Promise<void> {
  await sql`
    create function iclood_asset_key(device_id text, path text) returns uuid
    language sql immutable parallel safe as $$
      select md5(coalesce(device_id, 'unknown') || chr(10) ||
        case when path like 'file://%' then split_part(path, '#', 1) else coalesce(path, '') end)::uuid
    $$`.execute(db)
}

async function extendBackups(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table backups
      alter column id type bigint,
      alter column file_name type text,
      alter column file_path type text,
      alter column original_path type text,
      alter column file_type type text,
      alter column mime_type type text,
      alter column device_id type text,
      alter column status type text,
      alter column file_path drop not null,
      alter column file_size drop not null,
      alter column file_size type bigint,
      alter column timestamp type timestamptz using timestamp at time zone 'UTC',
      add column asset_id text,
      add column created double precision,
      add column modified double precision,
      add column announced_size bigint,
      add column announced_from text,
      add column failure text,
      add column asset_key uuid generated always as (iclood_asset_key(device_id, original_path)) stored
    `.execute(db)
  await sql`alter sequence if exists backups_id_seq as bigint`.execute(db)
  await sql`create index backups_asset_key on backups (asset_key)`.execute(db)
  // What never came to its end at an older server, as often as it was begun there: each file waits once.
  await sql`
    delete from backups using backups as later
    where backups.status = 'Pending' and later.status = 'Pending'
      and backups.asset_key = later.asset_key and backups.id < later.id
    `.execute(db)
  await sql`
    create unique index backups_announced on backups (asset_key, coalesce(asset_id, '')) where status = 'Pending'
    `.execute(db)
  await sql`
    create index backups_log on backups (timestamp desc nulls last, id desc) where status <> 'Pending'`.execute(db)
  await sql`
    create index backups_log_of_device on backups (coalesce(device_id, 'unknown'), timestamp desc nulls last, id desc)
    where status <> 'Pending'`.execute(db)
  await sql`
    create index backups_failed on backups (timestamp desc nulls last, id desc) where status = 'Failed'`.execute(db)
  await sql`create index backups_file_path on backups (file_path) where file_path is not null`.execute(db)
}

async function extendIgnoredFiles(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table ignored_files
      alter column id type bigint,
      alter column file_name type text,
      alter column original_path type text,
      alter column device_id type text,
      alter column timestamp type timestamptz using timestamp at time zone 'UTC',
      add column asset_id text,
      add column asset_key uuid generated always as (iclood_asset_key(device_id, original_path)) stored
    `.execute(db)
  await sql`alter sequence if exists ignored_files_id_seq as bigint`.execute(db)
  await sql`create index ignored_files_asset_key on ignored_files (asset_key)`.execute(db)
}

/**
 * Old rows refer to their files by paths within the library; what those files hold is read later, in the background.
 * The old server wrote over a file of the same name: of the rows that share one, the last tells what it is, until
 * somebody has looked.
 */
async function createFiles(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table files (
      path text collate "C" not null,
      checksum bytea check (octet_length(checksum) = 32),
      size bigint,
      media_type text,
      captured_at timestamptz,
      captured_offset smallint,
      stored_at timestamptz,
      verified_at timestamptz,
      missing_at timestamptz
    )`.execute(db)
  await sql`
    insert into files (path, size, media_type, stored_at)
    select distinct on (file_path collate "C") file_path, file_size, mime_type, timestamp
    from backups
    where status = 'Completed' and file_path ~ '^[^/]+(/[^/]+)*$' and file_path !~ '(^|/)[.]{1,2}(/|$)'
      and file_path !~ '^[.]iclood/'
    order by file_path collate "C", id desc`.execute(db)
  await sql`alter table files add primary key (path)`.execute(db)
  await sql`create index files_checksum on files (checksum) where checksum is not null`.execute(db)
  await sql`create index files_unread on files (size) where checksum is null and missing_at is null`.execute(db)
  // Old rows may name files that never arrived, so only rows from now on are held to it.
  await sql`
    alter table backups add constraint backups_file_path_fkey
      foreign key (file_path) references files (path) on update cascade not valid`.execute(db)
}

async function createTotals(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table backup_totals (
      device_id text not null,
      status text not null,
      file_type text not null,
      count bigint not null,
      bytes bigint not null,
      primary key (device_id, status, file_type)
    )`.execute(db)
  await sql`
    insert into backup_totals
    select coalesce(device_id, 'unknown'), status, file_type, count(*), coalesce(sum(file_size), 0)
    from backups
    group by 1, 2, 3`.execute(db)
  await keepCounted(
    db,
    'backups',
    (changed) => sql`
      insert into backup_totals
      select coalesce(device_id, 'unknown'), status, file_type, sum(sign), coalesce(sum(sign * file_size), 0)
      from (${changed}) as changed
      group by 1, 2, 3
      on conflict (device_id, status, file_type) do update
        set count = backup_totals.count + excluded.count, bytes = backup_totals.bytes + excluded.bytes`,
    sql`delete from backup_totals`,
  )
  await sql`
    create table library_size (
      singleton boolean primary key default true check (singleton),
      files bigint not null,
      bytes bigint not null
    )`.execute(db)
  await sql`
    insert into library_size (files, bytes)
    select count(*), coalesce(sum(size), 0) from files where missing_at is null`.execute(db)
  await keepCounted(
    db,
    'files',
    (changed) => sql`
      update library_size set files = library_size.files + change.files, bytes = library_size.bytes + change.bytes
      from (
        select coalesce(sum(sign), 0) as files, coalesce(sum(sign * size), 0) as bytes
        from (${changed}) as changed
        where missing_at is null
      ) as change`,
    sql`update library_size set files = 0, bytes = 0`,
  )
}

/**
 * Keeps a count of `table` in step with it, whoever writes: `add` takes the changed rows (the table's columns and
 * `sign`, -1 for what was and 1 for what is), `clear` answers a truncation.
 */
async function keepCounted(
  db: Kysely<unknown>,
  table: 'backups' | 'files',
  add: (changed: RawBuilder<unknown>) => RawBuilder<unknown>,
  clear: RawBuilder<unknown>,
): Promise<void> {
  const removed = sql`select -1 as sign, * from old_rows`
  const added = sql`select 1 as sign, * from new_rows`
  const events = [
    { event: 'insert', rows: sql`referencing new table as new_rows`, change: add(added) },
    {
      event: 'update',
      rows: sql`referencing old table as old_rows new table as new_rows`,
      change: add(sql`${removed} union all ${added}`),
    },
    { event: 'delete', rows: sql`referencing old table as old_rows`, change: add(removed) },
    { event: 'truncate', rows: sql``, change: clear },
  ]
  for (const { event, rows, change } of events) {
    const name = sql.id(`iclood_${table}_${event}`)
    // One writer at a time, until its commit: two that touch the same totals in different orders would wait for each
    // other.
    await sql`
      create function ${name}() returns trigger language plpgsql as $$
      begin
        perform pg_advisory_xact_lock(7236844, 1);
        ${change};
        return null;
      end
      $$`.execute(db)
    await sql`
      create trigger ${name} after ${sql.raw(event)} on ${sql.table(table)} ${rows}
      for each statement execute function ${name}()`.execute(db)
  }
}
