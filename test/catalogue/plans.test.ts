import { sql } from 'kysely'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ROWS_WEIGHED } from '../../src/base/budgets.ts'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { allRecords } from '../../src/catalogue/journal-rows.ts'
import { createLookUp, type Question } from '../../src/catalogue/look-up.ts'
import type { Checksum } from '../../src/media/checksum.ts'
import { migrate } from '../../src/migrations/migrate.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'

const ROWS = 3000

let database: TestDatabase
let db: Database
beforeAll(async () => {
  database = await startTestDatabase()
  db = openDatabase({ connectionString: database.url }, () => {})
  await migrate(db)
})
afterAll(async () => {
  await db.destroy()
  await database.drop()
})

/** Rows of tables that the connection has read so far, by whatever way. */
async function rowsRead(tables = ['files', 'backups', 'copies']): Promise<number> {
  await sql`select pg_stat_force_next_flush()`.execute(db)
  const { rows } = await sql<{ read: number }>`
    select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint as read
    from pg_stat_user_tables where relname = any(${tables}::text[])`.execute(db)
  return rows[0]?.read ?? 0
}

const QUESTION: Question = {
  checksum: 'ab'.repeat(32) as Checksum,
  size: 1000,
  deviceId: 'iPhone',
  path: '/DCIM/IMG_1.JPG',
  assetId: null,
  created: null,
  taken: null,
  address: '192.168.1.2',
  stem: '/DCIM/IMG_1',
  contentId: 'content 1',
  role: 'still',
}

it('the plan that is made for an empty library reads next to nothing when there are many photos', async () => {
  const lookUp = createLookUp(db)
  await lookUp(QUESTION)
  await sql`
    insert into files (path, checksum, size, media_type, content_id, stored_at)
    select '2024/07/IMG_' || n || '.MOV', sha256(n::text::bytea), 1000, 'video/quicktime', 'content ' || n, now()
    from generate_series(1, ${ROWS}::integer) as n`.execute(db)
  await sql`
    insert into backups (device_id, original_path, file_name, file_path, file_type, timestamp, status)
    select 'iPhone', '/DCIM/IMG_' || n || '.MOV', 'IMG_' || n || '.MOV', '2024/07/IMG_' || n || '.MOV', 'video', now(), 'Completed'
    from generate_series(1, ${ROWS}::integer) as n`.execute(db)
  const before = await rowsRead()
  const answer = await lookUp(QUESTION)
  expect(answer.relatives.length).toBeGreaterThan(0)
  expect((await rowsRead()) - before).toBeLessThan(100)
})

it('of a path that has more rows than an upload looks at, it sees those that matter', async () => {
  await sql`
    insert into files (path, checksum, size, stored_at)
    select '2020/01/' || n, decode(case n when 500 then ${QUESTION.checksum} else md5(n::text) || md5(n::text) end, 'hex'), 7, now()
    from generate_series(1, 1000) as n`.execute(db)
  await sql`
    insert into backups (
      device_id, original_path, asset_id, file_name, file_path, file_type, timestamp, status, announced_from
    )
    select
      'many', '/DCIM/IMG_1.JPG', 'asset ' || n, 'IMG_1.JPG', '2020/01/' || n, 'photo', now() - n * interval '1 day',
      'Completed', null
    from generate_series(1, 1000) as n
    union all
    select
      'many', '/DCIM/IMG_1.JPG', 'asset 0', 'IMG_1.JPG', null, 'photo', '2000-01-01', 'Pending', ${QUESTION.address}`.execute(
    db,
  )
  const { samePath } = await createLookUp(db)({ ...QUESTION, deviceId: 'many', stem: null })
  expect(samePath).toHaveLength(ROWS_WEIGHED)
  const seen = samePath.map(({ assetId }) => assetId)
  expect(seen).toEqual(expect.arrayContaining(['asset 500', 'asset 0', 'asset 1', `asset ${ROWS_WEIGHED - 2}`]))
})

it('a snapshot of a large catalogue looks rows of backups up, and does not read all of them for each page', async () => {
  const many = 10_000
  await sql`
    insert into files (path, checksum, size)
    select '2023/07/' || n, sha256(n::text::bytea), 1 from generate_series(1, ${many}::integer) as n`.execute(db)
  await sql`
    insert into backups (device_id, original_path, file_name, file_path, file_type, timestamp, status)
    select 'iPhone', 'p' || n, 'n', '2023/07/' || n, 'photo', now(), 'Completed'
    from generate_series(1, ${many}::integer) as n`.execute(db)
  await sql`analyze files, backups`.execute(db)
  const before = await rowsRead(['backups'])
  let records = 0
  for await (const page of allRecords(db)) records += page.length
  expect(records).toBeGreaterThanOrEqual(many)
  expect((await rowsRead(['backups'])) - before).toBeLessThan(6 * records)
})
