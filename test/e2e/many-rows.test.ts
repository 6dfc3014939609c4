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
