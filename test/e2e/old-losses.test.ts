import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Migrator } from 'kysely'
import pg from 'pg'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { openDatabase } from '../../src/catalogue/connection.ts'
import { MIGRATIONS } from '../../src/migrations/migrate.ts'
import { addFlaskBackups, FLASK_TABLES, type FlaskBackup } from '../support/flask.ts'
import { jpeg } from '../support/media.ts'
import { sha256 } from '../support/mirrored.ts'
import { get, post, upload } from '../support/phone.ts'
import { startEmptyDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/wire.ts'

const photo = (seed: string, size: number) => jpeg({ date: '2024:02:02 12:00:00', seed: `old losses ${seed}`, size })

let database: TestDatabase
let folder: string
let library: string
let server: TestServer | undefined

beforeEach(async () => {
  database = await startEmptyDatabase()
  folder = await makeFolder()
  library = join(folder, 'photos')
})

afterEach(async () => {
  await server?.stop()
  server = undefined
})

async function withClient<Result>(work: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const client = new pg.Client(database.connection)
  await client.connect()
  return work(client).finally(() => client.end())
}

const query = (text: string) => withClient(async (client) => (await client.query<Record<string, unknown>>(text)).rows)

/** What the old server left: its rows, and the files that are on the drive. */
async function leave(backups: readonly FlaskBackup[], files: Record<string, Buffer>): Promise<void> {
  await withClient(async (client) => {
    await client.query(FLASK_TABLES)
    await addFlaskBackups(client, backups)
  })
  for (const [path, bytes] of Object.entries(files)) {
    await mkdir(dirname(join(library, path)), { recursive: true })
    await writeFile(join(library, path), bytes)
  }
}

async function start(): Promise<TestServer> {
  server = await startServer(folder, { DATABASE_URL: database.url, UPLOAD_FOLDER: library })
  return server
}

/** Which of these paths a phone is asked for; undefined if it is told to come again. */
async function asked(
  running: TestServer,
  paths: readonly string[],
  device = 'iPhone 12',
): Promise<string[] | undefined> {
  const files = paths.map((path) => ({ path, name: path.replace(/.*\//, ''), size: 0, type: 'photo' }))
  const { status, body } = await post(running.url, '/photos/new', { device_id: device, files })
  if (status === 503) return undefined
  expect(status).toBe(200)
  return body.new_files.map((file: { path: string }) => file.path)
}

const untilRead = () =>
  until('everything is read', async () => {
    const [row] = await query('select count(*)::int as n from originals where checksum is null and lost_at is null')
    return row?.['n'] === 0
  })

const FILE = '2024/02/IMG_0003.JPG'

it.each([
  ['the later', ['/a/IMG_0003.JPG', '/b/IMG_0003.JPG']],
  ['the earlier', ['/b/IMG_0003.JPG', '/a/IMG_0003.JPG']],
])('of two photos in one file, the one whose size is not the file’s is asked for: %s is there', async (_, order) => {
  const there = photo('b', 30_000)
  const sizes: Record<string, number> = { '/a/IMG_0003.JPG': 95_000, '/b/IMG_0003.JPG': there.length }
  const backups = order.map((path) => ({ file: FILE, path, size: sizes[path] ?? 0 }))
  await leave(backups, { [FILE]: there })
  const running = await start()
  expect(await asked(running, order)).toEqual(['/a/IMG_0003.JPG'])
  await untilRead()
  expect(await asked(running, order)).toEqual(['/a/IMG_0003.JPG'])

  const { body } = await get(running.url, '/backup/log?status=Failed')
  expect(body.backups).toEqual([
    expect.objectContaining({
      original_path: '/a/IMG_0003.JPG',
      file_path: null,
      failure: expect.stringContaining(`${FILE}, ${there.length} bytes instead of 95000`),
    }),
  ])
  const fields = { device_id: 'iPhone 12', original_path: '/a/IMG_0003.JPG' }
  expect(await upload(running.url, photo('a', 95_000), { name: 'IMG_0003.JPG', fields })).toMatchObject({
    status: 201,
    body: { backup: { id: body.backups[0].id, file_path: '2024/02/IMG_0003 (2).JPG' } },
  })
  expect(await asked(running, order)).toEqual([])
  expect((await readFile(join(library, FILE))).equals(there)).toBe(true)
})

it('two photos of one size in one file stay backed up, and so does one whose size nobody has told', async () => {
  const there = photo('b', 30_000)
  const paths = ['/a/IMG_0003.JPG', '/b/IMG_0003.JPG', '/c/IMG_0003.JPG']
  await leave(
    paths.map((path) => ({ file: FILE, path, size: there.length })),
    { [FILE]: there },
  )
  await query(`alter table backups alter column file_size drop not null`)
  await query(`update backups set file_size = null where original_path = '/c/IMG_0003.JPG'`)
  const running = await start()
  expect(await asked(running, paths)).toEqual([])
  await untilRead()
  expect(await asked(running, paths)).toEqual([])
})

it('what is not on the drive is asked for, a person is told, and it goes back to its place', async () => {
  const gone = photo('gone', 20_000)
  await leave(
    [
      { file: '2024/02/GONE.JPG', path: '/a/GONE.JPG', size: 95_000 },
      { file: '2024/02/GONE.JPG', path: '/b/GONE.JPG', size: gone.length },
      { file: FILE, path: '/a/IMG_0003.JPG', size: 30_000 },
    ],
    { [FILE]: photo('b', 30_000) },
  )
  const running = await start()
  const paths = ['/a/GONE.JPG', '/b/GONE.JPG', '/a/IMG_0003.JPG']
  expect(await asked(running, paths)).toEqual(['/a/GONE.JPG', '/b/GONE.JPG'])
  expect((await get(running.url, '/library/health')).body.status).not.toBe('ok')
  const fields = { device_id: 'iPhone 12', original_path: '/b/GONE.JPG' }
  expect(await upload(running.url, gone, { name: 'GONE.JPG', fields })).toMatchObject({
    body: { backup: { file_path: '2024/02/GONE.JPG' } },
  })
  expect(await asked(running, paths)).toEqual(['/a/GONE.JPG'])
})

it('with the drive away at the first start nothing is called backed up, and what is lost is noticed when it comes', async () => {
  await leave([{ file: FILE, path: '/a/IMG_0003.JPG', size: 95_000 }], { [FILE]: photo('b', 30_000) })
  await rename(library, `${library} away`)
  const running = await start()
  expect(await asked(running, ['/a/IMG_0003.JPG'])).toBeUndefined()
  await rename(`${library} away`, library)
  await until('it is asked for', async () => (await asked(running, ['/a/IMG_0003.JPG']))?.length === 1)
})

it('an earlier version that has read the file already is corrected at its first start', async () => {
  const there = photo('b', 30_000)
  await leave([], { [FILE]: there })
  const db = openDatabase(database.connection, () => {})
  const earlier = new Migrator({ db, provider: { getMigrations: async () => MIGRATIONS } })
  expect((await earlier.migrateTo('0005-alarms')).error).toBeUndefined()
  await db.destroy()
  await query(`
    insert into files (path, checksum, size, media_type, stored_at, verified_at)
    values ('${FILE}', decode('${sha256(there)}', 'hex'), ${there.length}, 'image/jpeg', now(), now())`)
  await query(`
    insert into backups (file_name, file_path, original_path, file_size, file_type, device_id, timestamp, status)
    select 'IMG_0003.JPG', '${FILE}', path, size, 'photo', 'iPhone 12', now(), 'Completed'
    from (values ('/a/IMG_0003.JPG', 95000), ('/b/IMG_0003.JPG', ${there.length})) as said (path, size)`)
  const running = await start()
  expect(await asked(running, ['/a/IMG_0003.JPG', '/b/IMG_0003.JPG'])).toEqual(['/a/IMG_0003.JPG'])
})
