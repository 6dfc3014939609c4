import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { jpeg } from '../support/media.ts'
import { post, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, startServer, type TestServer } from '../support/server.ts'

/** As the attack had them: with these one upload took 58 s. */
const ROWS = 20_000
const TAKEN = Date.parse('2024-07-01T12:00:00Z')

let database: TestDatabase
let client: pg.Client
let server: TestServer
beforeAll(async () => {
  database = await startTestDatabase()
  client = new pg.Client(database.connection)
  await client.connect()
  server = await startServer(await makeFolder(), { DATABASE_URL: database.url })
})
afterAll(async () => {
  await server.stop()
  await client.end()
})

/** Rows of one path that wait for as many assets, all from here, the first ones taken nearest to `TAKEN`. */
const announceAll = (device: string, path: string) =>
  client.query(
    `insert into backups (
      device_id, original_path, asset_id, file_name, file_type, created, announced_from, timestamp, status
    )
    select $1, $2, 'asset ' || n, 'IMG_1.JPG', 'photo', $3::float8 + n * 1000, '127.0.0.1', now(), 'Pending'
    from generate_series(1, ${ROWS}) as n`,
    [device, path, TAKEN],
  )

it('an upload under a path that twenty thousand rows have is answered, and completes the right one of them', async () => {
  await announceAll('guest', '/DCIM/IMG_1.JPG')
  const photo = (seed: string, fields: Record<string, string>) =>
    upload(server.url, jpeg({ date: '2024:07:01 12:00:00', seed }), {
      fields: { device_id: 'guest', original_path: '/DCIM/IMG_1.JPG', ...fields },
    })
  expect((await photo('with its id', { asset_id: 'asset 7' })).status).toBe(201)
  expect((await photo('without', {})).status).toBe(201)
  const { rows } = await client.query("select asset_id from backups where status = 'Completed' order by id")
  expect(rows.map((row) => row.asset_id)).toContain('asset 7')
  expect(rows).toHaveLength(2)
  expect((await post(server.url, '/photos/new', { device_id: 'phone', files: [{ path: '/a.jpg' }] })).status).toBe(200)
})

/** What the database has written to temporary files so far, in bytes: what it could not do in memory. */
async function temporary(): Promise<number> {
  await client.query('select pg_stat_force_next_flush()')
  const { rows } = await client.query(
    'select temp_bytes::float8 as bytes from pg_stat_database where datname = current_database()',
  )
  return rows[0].bytes
}

it.each<[string, (n: number) => object]>([
  ['equal entries', () => ({ path: '/DCIM/EQUAL.JPG' })],
  ['entries of one path', (n) => ({ path: '/DCIM/SAME.JPG', id: `${n}`, created: TAKEN + n })],
  ['exports of one asset', (n) => ({ path: `/Containers/${n}/A.MOV`, id: 'A/L0/001', created: TAKEN })],
])('lists of ten thousand %s are answered without a step that grows with their square', async (_, entry) => {
  const files = Array.from({ length: 10_000 }, (_, n) => entry(n))
  const list = { device_id: 'many', files }
  const before = await temporary()
  for (let round = 0; round < 2; round++) {
    const { status, body } = await post(server.url, '/photos/new', list)
    expect(status).toBe(200)
    expect(body.count).toBe(files.length)
    expect(body.new_files).toEqual(files)
  }
  const verdict = await post(server.url, '/photos/verdict', list)
  expect(verdict.body).toMatchObject({ safe_count: 0, count: files.length })
  const isEqual = new Set(files.map((file) => JSON.stringify(file))).size === 1
  // More than any phone has is refused where it would be believed, and nothing of it is done.
  for (const route of ['/photos/ignore', '/photos/unignore']) {
    const answer = await post(server.url, route, list)
    expect(answer).toMatchObject(isEqual ? { status: 200 } : { status: 400, body: { code: 'invalid_request' } })
  }
  expect((await post(server.url, '/photos/new', list)).body.count).toBe(files.length)
  expect(await temporary()).toBe(before)
  const { rows } = await client.query(
    "select max(count)::int as most from (select count(*) from backups where device_id = 'many' group by asset_key, asset_id) as c",
  )
  expect(rows[0].most).toBe(1)
})

it('many failed and ignored rows of one path cost an ignore no more than themselves', async () => {
  await client.query(
    `insert into backups (device_id, original_path, asset_id, file_name, file_type, status, announced_from, failure)
     select 'failed', '/DCIM/F.JPG', n::text, repeat('name', 200), 'photo', 'Failed', '127.0.0.1', repeat('why', 300)
     from generate_series(1, ${ROWS}) as n`,
  )
  await client.query(
    `insert into ignored_files (device_id, original_path, asset_id, file_name)
     select 'failed', '/DCIM/F.JPG', n::text, 'F.JPG' from generate_series(1, ${ROWS}) as n`,
  )
  const before = await temporary()
  const files = Array.from({ length: 32 }, (_, n) => ({ path: '/DCIM/F.JPG', id: `new ${n}` }))
  const answer = await post(server.url, '/photos/ignore', { device_id: 'failed', files })
  expect(answer.body).toMatchObject({ ignored_count: 32 })
  expect((await post(server.url, '/photos/new', { device_id: 'failed', files })).body).toMatchObject({ count: 0 })
  expect(await temporary()).toBe(before)
})
