import { sql } from 'kysely'
import type { Database } from '../connection.ts'
import { LIBRARY } from '../places.ts'

/** What a rebuild has brought back. */
export interface Restored {
  originals: number
  backups: number
  ignored: number
}

/**
 * Adds what the tables of `createSaid` say and the catalogue does not have; nothing that is there is changed. The last
 * word about each thing counts.
 *
 * An empty catalogue gets everything as it was, with its ids. One that is not empty is the newer truth about what was
 * ignored and what failed, and has its own rows of assets that it knows: it gets the completed backups that it never
 * heard of. An id that belongs to another asset there is replaced by a new one.
 */
export async function mergeSaid(transaction: Database, isEmpty: boolean): Promise<Restored> {
  await findLastBackups(transaction)
  if (!isEmpty) await keepUnheardOf(transaction)
  await findLastOriginals(transaction)
  // Behind every id that ever was, so that none is given twice.
  await advanceSequence(transaction, 'backups', 'said_backups')
  if (isEmpty) await advanceSequence(transaction, 'ignored_files', 'said_ignored')
  const restored = {
    originals: await insertOriginals(transaction, isEmpty),
    backups: await insertBackups(transaction),
    ignored: isEmpty ? await insertIgnored(transaction) : 0,
  }
  await insertDevices(transaction)
  return restored
}

async function findLastBackups(transaction: Database): Promise<void> {
  await sql`
    create temporary table last_backups on commit drop as
    select * from (select distinct on (id) * from said_backups order by id, seq desc) as last
    where not removed`.execute(transaction)
  await sql`analyze last_backups`.execute(transaction)
}

async function keepUnheardOf(transaction: Database): Promise<void> {
  await sql`
    delete from last_backups as said
    where said.status <> 'Completed' or exists (
      select from backups
      where backups.asset_key = iclood_asset_key(said.device, said.phone_path) and (
        backups.id = said.id
        or (backups.status = 'Completed'
          and (backups.asset_id, backups.file_path) is not distinct from (said.asset_id, said.path))
      )
    )`.execute(transaction)
  await sql`analyze last_backups`.execute(transaction)
}

/**
 * An original that was taken away and is still referred to is kept: the line about that backup's new original has been
 * lost, and what becomes of it shows when it is looked for on the drive.
 */
async function findLastOriginals(transaction: Database): Promise<void> {
  await sql`
    create temporary table last_originals on commit drop as
    select facts.*
    from (select distinct on (path) * from said_originals where not removed order by path, seq desc) as facts
      join (select distinct on (path) path, removed from said_originals order by path, seq desc) as last using (path)
    where not last.removed or path in (select last_backups.path from last_backups)`.execute(transaction)
  await sql`analyze last_originals`.execute(transaction)
}

/**
 * An original that has failed backups alone was lost: missing, or damaged and put aside. Until it has been read again
 * it does not count as there. Backups that an older server failed name no reason, and say nothing about it.
 */
async function insertOriginals(transaction: Database, isEmpty: boolean): Promise<number> {
  await sql`
    create temporary table added_originals on commit drop as
    with referred as (
      select
        path, not bool_or(status = 'Completed') and bool_or(status = 'Failed' and failure is not null) as is_lost
      from last_backups where path is not null group by path
    ), added as (
      insert into files (
        path, checksum, size, media_type, captured_at, captured_offset, content_id, stored_at
      )
      select path, decode(sha256, 'hex'), size, media_type, captured_at, captured_offset, content_id, stored_at
      from last_originals left join referred using (path)
      where ${isEmpty} or referred.path is not null
      on conflict (path) do nothing
      returning path
    )
    select path, coalesce(is_lost, false) as is_lost from added left join referred using (path)`.execute(transaction)
  await sql`
    update copies set wanted_since = now(), lost_at = now()
    from added_originals as added
    where copies.place = ${LIBRARY} and copies.path = added.path and added.is_lost`.execute(transaction)
  const { rows } = await sql<{ count: number }>`select count(*) as count from added_originals`.execute(transaction)
  return rows[0]?.count ?? 0
}

/**
 * A backup whose original is another one by now, or is lost, is left out: its phone is asked again.
 * Whether its asset id came with its bytes this server has not seen.
 */
async function insertBackups(transaction: Database): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    with added as (
      insert into backups (
        id, device_id, original_path, asset_id, file_name, file_type, status, failure, timestamp, created, modified,
        announced_size, announced_from, sent_from, file_size, mime_type, file_path
      )
      select
        case when exists (select from backups where backups.id = said.id)
          then nextval(pg_get_serial_sequence('backups', 'id')) else said.id end,
        said.device, said.phone_path, said.asset_id, said.name, said.kind, said.status, said.failure, said.at,
        said.created, said.modified, said.announced_size, said.announced_from, said.sent_from, said.size, said.media_type, said.path
      from last_backups as said
        left join originals as files on files.path = said.path
        left join last_originals on last_originals.path = said.path
      where said.path is null or said.status <> 'Completed' or (
        files.lost_at is null
        and coalesce(files.checksum = decode(last_originals.sha256, 'hex'), true)
      )
      order by said.id
      returning 1
    )
    select count(*) as count from added`.execute(transaction)
  return rows[0]?.count ?? 0
}

async function insertIgnored(transaction: Database): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    with added as (
      insert into ignored_files (
        id, device_id, original_path, asset_id, file_name, timestamp, created, announced_size, ignored_from
      )
      select id, device, phone_path, asset_id, name, at, created, announced_size, ignored_from
      from (select distinct on (id) * from said_ignored order by id, seq desc) as last
      where not removed
      returning 1
    )
    select count(*) as count from added`.execute(transaction)
  return rows[0]?.count ?? 0
}

/**
 * Phones that announced what they had before they sent it. When they looked in last is not known, nor which of them
 * were forgotten.
 */
async function insertDevices(transaction: Database): Promise<void> {
  await sql`
    insert into devices (device_id, has_announced)
    select distinct coalesce(device, 'unknown'), true from last_backups where announced_from is not null
    on conflict (device_id) do nothing`.execute(transaction)
}

async function advanceSequence(transaction: Database, table: 'backups' | 'ignored_files', said: string): Promise<void> {
  await sql`
    select setval(sequence, highest)
    from (select pg_get_serial_sequence(${table}, 'id')::regclass as sequence) as named,
      (select max(id) as highest from ${sql.id(said)}) as ids
    where highest > coalesce(pg_sequence_last_value(sequence), 0)`.execute(transaction)
}
