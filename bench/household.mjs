import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { DATABASE, ROLE } from '../dist/postgres/settings.js'

/*
 * Years of backups, written into the embedded database by SQL: asset number n of a phone that took one photo an hour.
 */

const DEVICE = 'iPhone 16 Pro'
const FIRST_TAKEN = Date.UTC(2015, 0, 1)
const HOUR_MS = 3_600_000
const SIZE = 2_500_000
/** Rows in one statement. */
const PORTION = 50_000

/** Connects to the embedded database of a running server, whose lock file says where its socket is. */
export async function connectTo(dataDir) {
  const cluster = join(dataDir, 'postgres')
  const [, , , port] = (await readFile(join(cluster, 'postmaster.pid'), 'utf8')).split('\n')
  const client = new pg.Client({ port: Number(port), host: cluster, user: ROLE, database: DATABASE })
  // When the server stops first, the reason is told where it was found.
  client.on('error', () => {})
  await client.connect()
  return client
}

/** Adds the assets number `from` to `to` - 1 as backed up. */
export async function fill(client, from, to) {
  for (let start = from; start < to; start += PORTION) {
    await client.query('begin')
    const range = [start, Math.min(start + PORTION, to) - 1]
    await client.query(
      `insert into files (path, checksum, size, media_type, captured_at, captured_offset, stored_at)
       select to_char(taken, 'YYYY/MM/') || 'IMG_' || n || '.HEIC', sha256(n::text::bytea), ${SIZE}, 'image/heic', taken, 0, taken
       from generate_series($1::integer, $2::integer) as n, ${takenAt('n')}`,
      range,
    )
    await client.query(
      `insert into backups (file_name, file_path, original_path, file_size, file_type, mime_type, device_id, timestamp,
         status, asset_id, created, modified, announced_size)
       select 'IMG_' || n || '.HEIC', to_char(taken, 'YYYY/MM/') || 'IMG_' || n || '.HEIC',
         'file:///var/mobile/Media/DCIM/100APPLE/IMG_' || n || '.HEIC', ${SIZE}, 'photo', 'image/heic', '${DEVICE}', taken,
         'Completed', 'asset-' || n, ${FIRST_TAKEN}::float8 + n * ${HOUR_MS}::float8, ${FIRST_TAKEN}::float8 + n * ${HOUR_MS}::float8, ${SIZE}
       from generate_series($1::integer, $2::integer) as n, ${takenAt('n')}`,
      range,
    )
    await untold(client)
  }
  // As autovacuum does within a minute.
  await client.query('vacuum analyze files, backups')
}

/** Ends the transaction; nothing of it is to be written on the drive while something else is measured. */
async function untold(client) {
  await client.query('delete from outbox')
  await client.query('commit')
}

/** A phone of which an older server has backed up the same: it kept neither ids nor dates nor checksums. */
export const OLD_DEVICE = 'iPhone 12'

/** Adds the assets number `from` to `to` - 1 as that server left them. */
export async function fillOld(client, from, to) {
  await client.query('begin')
  await client.query(
    `insert into files (path, size, media_type, stored_at)
     select to_char(taken, 'YYYY/MM/') || 'OLD_' || n || '.HEIC', ${SIZE}, 'image/heic', taken
     from generate_series($1::integer, $2::integer) as n, ${takenAt('n')}`,
    [from, to - 1],
  )
  await client.query(
    `insert into backups (file_name, file_path, original_path, file_size, file_type, mime_type, device_id, timestamp, status)
     select 'IMG_' || n || '.HEIC', to_char(taken, 'YYYY/MM/') || 'OLD_' || n || '.HEIC',
       'file:///var/mobile/Media/DCIM/100APPLE/IMG_' || n || '.HEIC', ${SIZE}, 'photo', 'image/heic', '${OLD_DEVICE}', taken, 'Completed'
     from generate_series($1::integer, $2::integer) as n, ${takenAt('n')}`,
    [from, to - 1],
  )
  await untold(client)
}

function takenAt(n) {
  return `lateral (select to_timestamp(${FIRST_TAKEN / 1000} + ${n}::bigint * ${HOUR_MS / 1000}) at time zone 'UTC' as taken) as clock`
}

/** The phone's list of the assets number `from` to `to` - 1, as it sends it. */
export function listOf(from, to, device = DEVICE) {
  const files = []
  for (let n = from; n < to; n++) {
    const taken = FIRST_TAKEN + n * HOUR_MS
    const name = `IMG_${n}.HEIC`
    const path = `file:///var/mobile/Media/DCIM/100APPLE/${name}`
    files.push({ path, id: `asset-${n}`, name, size: SIZE, type: 'photo', created: taken, modified: taken })
  }
  return JSON.stringify({ device_id: device, files })
}
