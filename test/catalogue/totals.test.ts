import { Migrator, sql } from 'kysely'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { sumBackups } from '../../src/catalogue/backups.ts'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { listDevices } from '../../src/catalogue/devices.ts'
import { libraryBytes } from '../../src/catalogue/files.ts'
import { countByState } from '../../src/catalogue/verification.ts'
import { MIGRATIONS, migrate } from '../../src/migrations/migrate.ts'
import { type InProcessServer, startInProcess } from '../support/in-process.ts'
import { post } from '../support/phone.ts'
import { startEmptyDatabase, startTestDatabase } from '../support/postgres.ts'
import { makeFolder } from '../support/server.ts'

/** Exact in a double, and beyond what any file system holds; 1,024 of them are more than a bigint does. */
const HUGE = Number.MAX_SAFE_INTEGER
const MANY = 3_000

let server: InProcessServer
beforeAll(async () => {
  server = await startInProcess(await makeFolder(), await startTestDatabase())
})
afterAll(() => server.stop())

const huge = (device: string, count = MANY) => ({
  device_id: device,
  files: Array.from({ length: count }, (_, n) => ({ path: `/DCIM/${n}.JPG`, id: `${n}`, size: HUGE })),
})

/** What is counted, beside the same counted anew. */
async function counts(db: Database) {
  const { rows } = await sql<{ kept: unknown; counted: unknown }>`
    select
      (select json_agg(totals order by totals) from (
        select device_id, status, file_type, count from backup_totals where count <> 0
      ) as totals) as kept,
      (select json_agg(totals order by totals) from (
        select coalesce(device_id, 'unknown') as device_id, status, file_type, count(*) from backups group by 1, 2, 3
      ) as totals) as counted
    union all
    select
      (select json_agg(shares order by shares) from (
        select what, address, device_id, count from row_shares where count <> 0
      ) as shares),
      (select json_agg(shares order by shares) from (
        select 'waiting' as what, iclood_share_of(announced_from) as address, device_id, count(*) from backups
        where status <> 'Completed' and file_path is null and announced_from is not null group by 2, 3
        union all
        select 'ignored', iclood_share_of(ignored_from), device_id, count(*) from ignored_files group by 2, 3
      ) as shares)`.execute(db)
  return rows
}

it('a list whose sizes add up to more than any number holds is answered, and so are all after it', async () => {
  expect((await post(server.url, '/photos/new', huge('guest'))).body).toMatchObject({ count: MANY })
  expect((await post(server.url, '/photos/new', huge('phone', 1))).body).toMatchObject({ count: 1 })
  expect((await post(server.url, '/photos/ignore', huge('guest'))).body).toMatchObject({ ignored_count: MANY })
  expect((await post(server.url, '/photos/new', huge('guest'))).body).toMatchObject({ count: 0 })
  const devices = await listDevices(server.db, 10, new Date())
  expect(devices.map(({ deviceId, pending }) => [deviceId, pending]).sort()).toEqual([
    ['guest', MANY],
    ['phone', 1],
  ])
  for (const { kept, counted } of await counts(server.db)) expect(kept).toEqual(counted)
})

it('originals whose sizes add up to more than any number holds are counted all the same', async () => {
  await sql`
    insert into files (path, checksum, size, stored_at)
    select '2024/07/' || n || '.JPG', sha256(n::text::bytea), ${HUGE}, now() from generate_series(1, ${MANY}::integer) as n
  `.execute(server.db)
  const total = HUGE * MANY
  expect(await libraryBytes(server.db)).toBeCloseTo(total, -8)
  expect(await sumBackups(server.db, new Date())).toMatchObject({ bytes: expect.closeTo(total, -8), photos: MANY })
  expect((await countByState(server.db, new Date())).unverified.bytes).toBeCloseTo(total, -8)
  await sql`delete from files where path like '2024/07/%'`.execute(server.db)
  expect(await libraryBytes(server.db)).toBe(0)
})

it('IPv6 addresses of one network count as one client', async () => {
  const { rows } = await sql<{ address: string; share: string }>`
    select address, iclood_share_of(address) as share from unnest(array[
      '192.168.1.2', '2001:db8:1:2:3:4:5:6', '2001:db8:1:2::7', 'fe80::1:2:3:4', 'fe80::ab:2:3:4', '::1', '', 'a:b', '::::'
    ]) as address`.execute(server.db)
  expect(rows.map(({ share }) => share)).toEqual([
    '192.168.1.2',
    '2001:db8:1:2',
    '2001:db8:1:2',
    'fe80:0:0:0',
    'fe80:0:0:0',
    '0:0:0:0',
    '',
    'a:b:0:0',
    '0:0:0:0',
  ])
})

it('what an earlier version has counted, up to the brim or wrongly, is counted anew', async () => {
  const database = await startEmptyDatabase()
  const db = openDatabase({ connectionString: database.url }, () => {})
  try {
    const earlier = new Migrator({ db, provider: { getMigrations: async () => MIGRATIONS } })
    expect((await earlier.migrateTo('0009-whereabouts')).error).toBeUndefined()
    await sql`
      insert into backups (device_id, original_path, file_name, file_type, file_size, status, announced_from)
      select 'guest', n::text, 'a.jpg', 'photo', ${HUGE}, 'Pending', '192.168.1.' || n % 3 from generate_series(1, 1000) as n
    `.execute(db)
    await sql`
      insert into files (path, size) select '2024/07/' || n || '.MOV', ${HUGE} from generate_series(1, 1000) as n
    `.execute(db)
    await sql`update backup_totals set count = -7`.execute(db)
    await sql`update file_totals set files = 12, bytes = -1 where state = 'intact'`.execute(db)
    await migrate(db)
    for (const { kept, counted } of await counts(db)) expect(kept).toEqual(counted)
    const totals = await db.selectFrom('place_totals').selectAll().where('files', '<>', 0).execute()
    expect(totals).toEqual([
      { place: 0, state: 'unread', kind: 'video', files: 1000, bytes: expect.closeTo(HUGE * 1000, -8) },
    ])
  } finally {
    await db.destroy()
  }
})
