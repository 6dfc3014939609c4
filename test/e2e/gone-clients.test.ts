import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { jpeg } from '../support/media.ts'
import { get, post, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

let database: TestDatabase
/** One holds what requests wait for, the other sees them wait: within a transaction that would always be the same. */
let client: pg.Client
let watcher: pg.Client
let server: TestServer
beforeAll(async () => {
  database = await startTestDatabase()
  client = new pg.Client(database.connection)
  await client.connect()
  watcher = new pg.Client(database.connection)
  await watcher.connect()
  server = await startServer(await makeFolder(), { DATABASE_URL: database.url })
})
afterAll(async () => {
  await server.stop()
  await client.end()
  await watcher.end()
})

/** What asks for ignored files, as every list does, waits for as long as a test lasts. */
beforeEach(async () => {
  await client.query('begin')
  await client.query('lock table ignored_files in access exclusive mode')
})
afterEach(async () => {
  await client.query('rollback')
})

const JSON_LIST = JSON.stringify({ device_id: 'phone', files: [{ path: '/DCIM/IMG_1.JPG', id: '1' }] })
const post11 = (path: string) =>
  `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ${JSON_LIST.length}\r\n\r\n${JSON_LIST}`
const get11 = (path: string) => `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n`

async function waiting(): Promise<number> {
  const { rows } = await watcher.query(
    `select from pg_stat_activity
     where datname = current_database() and application_name = 'iclood requests' and state = 'active' and wait_event_type = 'Lock'`,
  )
  return rows.length
}

async function send(request: string): Promise<Socket> {
  const socket = connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true })
  socket.on('error', () => {})
  const before = await waiting()
  socket.write(request)
  await until('the database is at it', async () => (await waiting()) > before)
  return socket
}

const noneWaits = () => until('nothing runs for the client that has gone', async () => (await waiting()) === 0)

it.each([
  ['a list', post11('/photos/new')],
  ['what is to be ignored', post11('/photos/ignore')],
  ['what is not to be ignored any more', post11('/photos/unignore')],
  ['a verdict', post11('/photos/verdict')],
  ['what is ignored', get11('/photos/ignored')],
])('%s is given up in the database once its client has gone', async (_, request) => {
  const reset = await send(request)
  reset.resetAndDestroy()
  await noneWaits()
  // To hang up looks like a half-close at first.
  const closed = await send(request)
  closed.destroy()
  await noneWaits()
  expect((await get(server.url, '/ping')).status).toBe(200)
})

it('who half-closes and waits gets a long answer all the same', async () => {
  const socket = await send(get11('/photos/ignored'))
  socket.end()
  const answer = text(socket)
  await new Promise((resolve) => socket.once('readable', resolve))
  await client.query('rollback')
  expect(await answer).toMatch(/^(HTTP\/1\.1 102 Processing\r\n\r\n)+HTTP\/1\.1 200 OK\r\n/)
})

it('lists that wait keep neither uploads nor totals from being answered', async () => {
  const lists = [await send(post11('/photos/new')), await send(post11('/photos/new'))]
  for (let more = 0; more < 4; more++) {
    const socket = connect(server.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(post11('/photos/verdict'))
    lists.push(socket)
  }
  for (let n = 0; n < 5; n++) {
    const sent = await upload(server.url, jpeg({ seed: `meanwhile ${n}` }), {
      fields: { original_path: `/DCIM/${n}.JPG` },
    })
    expect(sent.status).toBe(201)
  }
  expect((await get(server.url, '/storage/usage')).status).toBe(200)
  for (const socket of lists) socket.destroy()
  await noneWaits()
  await client.query('rollback')
  expect((await post(server.url, '/photos/new', JSON_LIST)).body).toMatchObject({ count: 1 })
})
