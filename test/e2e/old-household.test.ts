import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { originalsIn } from '../support/drives.ts'
import { FLASK_TABLES } from '../support/flask.ts'
import { heic, jpeg, mov, noise } from '../support/media.ts'
import { get, post, upload } from '../support/phone.ts'
import { startEmptyDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

const phone = 'file:///var/mobile/Media/DCIM/100APPLE'
const photo = jpeg({ date: '2024:07:01 12:00:00', size: 60_000, seed: 'old photo' })
const still = heic({ date: '2023:12:31 23:30:00', offset: '+01:00', size: 40_000, seed: 'old still' })
const film = mov({ creationDate: '2023-12-31T23:30:01+0100', size: 90_000, seed: 'old film' })
/** The old server wrote over what had the same name: of the two that were sent, the second is left. */
const overwritten = jpeg({ date: '2024:02:02 12:00:00', size: 95_000, seed: 'overwritten' })
const overwriting = jpeg({ date: '2024:02:03 12:00:00', size: 30_000, seed: 'overwriting' })

const FILES: Record<string, Buffer> = {
  '2024/07/IMG_0001.JPG': photo,
  '2023/12/IMG_0002.HEIC': still,
  '2023/12/IMG_0002.MOV': film,
  '2024/02/IMG_0003.JPG': overwriting,
  // Never in the database: a person’s own.
  '2024/07/Notes.txt': Buffer.from('mine'),
  'Thumbs.db': noise(500, 'thumbs'),
}

type Row = [string, string, string | null, number, string, string | null, string | null, string | null, string]
const ROWS: Row[] = [
  // name, path, original path, size, kind, type, device, timestamp, status
  [
    'IMG_0001.JPG',
    '2024/07/IMG_0001.JPG',
    `${phone}/IMG_0001.JPG`,
    photo.length,
    'photo',
    'image/jpeg',
    'iPhone 12',
    '2024-07-02 08:00:00.123456',
    'Completed',
  ],
  // The same once more, as the old server recorded it when it was sent again.
  [
    'IMG_0001.JPG',
    '2024/07/IMG_0001.JPG',
    `${phone}/IMG_0001.JPG`,
    photo.length,
    'photo',
    'image/jpeg',
    'iPhone 12',
    '2024-07-03 08:00:00',
    'Completed',
  ],
  [
    'IMG_0002.HEIC',
    '2023/12/IMG_0002.HEIC',
    `${phone}/IMG_0002.HEIC`,
    still.length,
    'photo',
    'image/jpeg',
    'iPhone 12',
    '2024-01-01 00:00:00',
    'Completed',
  ],
  [
    'IMG_0002.MOV',
    '2023/12/IMG_0002.MOV',
    `${phone}/IMG_0002.MOV`,
    film.length,
    'video',
    null,
    'iPhone 12',
    null,
    'Completed',
  ],
  [
    'IMG_0003.JPG',
    '2024/02/IMG_0003.JPG',
    `${phone}/IMG_0003.JPG`,
    overwritten.length,
    'photo',
    'image/jpeg',
    'iPhone 12',
    '2024-02-02 12:00:00',
    'Completed',
  ],
  [
    'IMG_0003.JPG',
    '2024/02/IMG_0003.JPG',
    `${phone}/IMG_0003.JPG`,
    overwriting.length,
    'photo',
    'image/jpeg',
    'iPad',
    '2024-02-03 12:00:00',
    'Completed',
  ],
  [
    'GONE.JPG',
    '2024/01/GONE.JPG',
    `${phone}/GONE.JPG`,
    12345,
    'photo',
    'image/jpeg',
    'iPhone 12',
    '2024-01-05 12:00:00',
    'Completed',
  ],
  [
    'FAILED.JPG',
    '2024/01/FAILED.JPG',
    `${phone}/FAILED.JPG`,
    0,
    'photo',
    null,
    'iPhone 12',
    '2024-01-06 12:00:00',
    'Failed',
  ],
  ['anon.jpg', '2024/07/IMG_0001.JPG', null, photo.length, 'photo', null, null, null, 'Completed'],
]

let database: TestDatabase
let folder: string
let library: string
let server: TestServer | undefined

beforeEach(async () => {
  database = await startEmptyDatabase()
  folder = await makeFolder()
  library = join(folder, 'photos')
  await query(FLASK_TABLES)
  for (const row of ROWS) {
    await query(
      `insert into backups (file_name, file_path, original_path, file_size, file_type, mime_type, device_id, timestamp, status)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
      row,
    )
  }
  for (const when of ['2024-05-05 10:00:00', '2024-05-06 10:00:00', null]) {
    await query('insert into ignored_files (file_name, device_id, original_path, timestamp) values ($1, $2, $3, $4)', [
      'IGNORED.JPG',
      when === null ? null : 'iPhone 12',
      `${phone}/IGNORED.JPG`,
      when,
    ])
  }
})

afterEach(async () => {
  await server?.stop()
  server = undefined
  await database.drop()
  await removeFolder(folder)
})

async function query(text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(database.connection)
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(text, values)).rows
  } finally {
    await client.end()
  }
}

async function writeFiles(files: Record<string, Buffer> = FILES): Promise<void> {
  for (const [path, bytes] of Object.entries(files)) {
    await mkdir(dirname(join(library, path)), { recursive: true })
    await writeFile(join(library, path), bytes)
    await utimes(join(library, path), 1_600_000_000, 1_600_000_000)
  }
}

const start = async () => {
  server = await startServer(folder, { DATABASE_URL: database.url, UPLOAD_FOLDER: library })
  return server
}

const untilRead = () =>
  until('all old files are read', async () => {
    const [row] = await query('select count(*)::int as n from originals where checksum is null and lost_at is null')
    return row?.['n'] === 0
  })

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** The rows as the old server had them, in its columns. */
const oldRows = () =>
  query(`select id::int, file_name, file_path, original_path, file_size::int, file_type, mime_type, device_id,
           timestamp at time zone 'UTC' as timestamp, status from backups order by id`)

it('every row and every file is as it was, during and after the move', async () => {
  await writeFiles()
  const before = await query(`select * from backups order by id`)
  const ignoredBefore = await query('select id, file_name, device_id, original_path from ignored_files order by id')
  await start()
  await untilRead()

  // But for two that lost their photos before: they say so, and refer to nothing that is not theirs.
  const lost = [4, 6].map((index) => before[index]?.['id'])
  const others = (rows: Record<string, unknown>[]) => rows.filter((row) => !lost.includes(row['id']))
  expect(others(await oldRows())).toEqual(others(before))
  expect(await oldRows()).toHaveLength(before.length)
  expect(await query('select id::int, file_name, device_id, original_path from ignored_files order by id')).toEqual(
    ignoredBefore,
  )
  expect(await originalsIn(library)).toEqual(Object.keys(FILES).sort())
  for (const [path, bytes] of Object.entries(FILES)) {
    expect((await readFile(join(library, path))).equals(bytes), path).toBe(true)
    expect((await stat(join(library, path))).mtimeMs, path).toBe(1_600_000_000_000)
  }
})

it('the phones’ lists are answered as before: what was backed up and is there, or ignored, is not asked for', async () => {
  await writeFiles()
  const running = await start()
  const list = async (device: string | undefined, names: string[]) => {
    const files = names.map((name) => ({ path: `${phone}/${name}`, name, size: 0, type: 'photo' }))
    const { body } = await post(running.url, '/photos/new', { device_id: device, files })
    const names_ = (entries: { name: string }[]) => entries.map((entry) => entry.name)
    return { new: names_(body.new_files), ignored: names_(body.ignored_files), count: body.backed_up_count }
  }
  const all = ['IMG_0001.JPG', 'IMG_0002.HEIC', 'IMG_0002.MOV', 'IMG_0003.JPG', 'GONE.JPG', 'FAILED.JPG', 'IGNORED.JPG']
  for (const when of ['before', 'after'] as const) {
    if (when === 'after') await untilRead()
    expect(await list('iPhone 12', all), when).toEqual({
      new: ['IMG_0003.JPG', 'GONE.JPG', 'FAILED.JPG'],
      ignored: ['IGNORED.JPG'],
      count: 3,
    })
    expect(await list('iPad', ['IMG_0003.JPG', 'IMG_0001.JPG']), when).toEqual({
      new: ['IMG_0001.JPG'],
      ignored: [],
      count: 1,
    })
    expect(await list(undefined, ['IGNORED.JPG', 'IMG_0001.JPG']), when).toEqual({
      new: ['IMG_0001.JPG'],
      ignored: ['IGNORED.JPG'],
      count: 0,
    })
  }
  expect((await get(running.url, `/photos/ignored?device_id=iPhone%2012`)).body.ignored_files).toHaveLength(2)
})

it('the log shows the old times as UTC, and figures count the old rows', async () => {
  await writeFiles()
  const running = await start()
  await untilRead()
  const { body } = await get(running.url, '/backup/log?limit=100')
  expect(body).toMatchObject({ total: ROWS.length, count: ROWS.length })
  const times = body.backups.map((backup: { timestamp: string | null }) => backup.timestamp)
  expect(times).toContain('2024-07-02T08:00:00.123Z')
  expect(times.at(0)).toBe('2024-07-03T08:00:00.000Z')
  expect(times.slice(-2)).toEqual([null, null])
  expect((await get(running.url, '/backup/log?status=Failed')).body).toMatchObject({ total: 3 })
  expect((await get(running.url, '/backup/history')).body.history).toHaveLength(ROWS.length - 3)
  const { body: status } = await get(running.url, '/storage/status')
  expect(status.backups).toMatchObject({ photo_count: 4, video_count: 1, total_count: 5 })
  expect(status.backups.last_backup).toBe('2024-07-03T08:00:00.000Z')
})

it('the old files’ checksums appear in the background, with progress in the log', async () => {
  await writeFiles()
  const running = await start()
  await untilRead()
  const { body } = await get(running.url, '/backup/log')
  const byName = (name: string) => body.backups.find((backup: { file_name: string }) => backup.file_name === name)
  expect(byName('IMG_0001.JPG')).toMatchObject({ sha256: sha256(photo), captured_at: '2024-07-01T10:00:00.000Z' })
  expect(byName('IMG_0002.HEIC')).toMatchObject({ sha256: sha256(still), captured_at: '2023-12-31T22:30:00.000Z' })
  expect(byName('IMG_0003.JPG').sha256).toBe(sha256(overwriting))
  expect(byName('GONE.JPG').sha256).toBeNull()
  expect(byName('FAILED.JPG').sha256).toBeNull()
  await until('the log says so', async () => running.output().includes('read all photos that had not been read yet'))
})

it('the same bytes sent again are there already, whether or not they have been read yet', async () => {
  // One that takes minutes to read, and comes first: the others have not been read before it ends.
  await query(`insert into backups (file_name, file_path, original_path, file_size, file_type, status)
    values ('long.mov', '0001/01/long.mov', 'x', 2000000000, 'video', 'Completed')`)
  await writeFiles({ ...FILES, '0001/01/long.mov': Buffer.alloc(0) })
  await truncate(join(library, '0001/01/long.mov'), 50_000_000_000)
  const running = await start()
  for (const when of ['before', 'after']) {
    for (const [path, bytes] of Object.entries(FILES)) {
      if (path === '2024/07/Notes.txt' || path === 'Thumbs.db') continue
      const fields = { device_id: 'new iPhone', original_path: `${when}/${path}` }
      const answer = await upload(running.url, bytes, { name: 'other.jpg', fields })
      expect(answer, `${path} ${when}`).toMatchObject({
        status: 200,
        body: { message: 'File already backed up', backup: { file_path: path, status: 'Completed' } },
      })
    }
    const [long] = await query(`select checksum from files where path = '0001/01/long.mov'`)
    if (when === 'before') expect(long).toEqual({ checksum: null })
    await truncate(join(library, '0001/01/long.mov'), 0)
    await untilRead()
  }
  expect(await originalsIn(library)).toEqual(['0001/01/long.mov', ...Object.keys(FILES)].sort())
})

it('what the old server lost, and what it overwrote, can be sent anew and is kept beside the rest', async () => {
  await writeFiles()
  const running = await start()
  const gone = jpeg({ date: '2024:01:05 12:00:00', size: 12_345, seed: 'gone' })
  const send = (bytes: Buffer, name: string) =>
    upload(running.url, bytes, { name, fields: { device_id: 'iPhone 12', original_path: `${phone}/${name}` } })
  expect(await send(gone, 'GONE.JPG')).toMatchObject({ status: 201 })
  expect(await send(overwritten, 'IMG_0003.JPG')).toMatchObject({
    status: 201,
    body: { backup: { file_path: '2024/02/IMG_0003 (2).JPG' } },
  })
  expect((await readFile(join(library, '2024/02/IMG_0003.JPG'))).equals(overwriting)).toBe(true)
  const failed = jpeg({ date: '2024:01:06 12:00:00', seed: 'failed' })
  const list = { device_id: 'iPhone 12', files: [{ path: `${phone}/FAILED.JPG` }] }
  expect((await post(running.url, '/photos/new', list)).body.count).toBe(1)
  expect(await send(failed, 'FAILED.JPG')).toMatchObject({ status: 201 })
  expect((await post(running.url, '/photos/new', list)).body.count).toBe(0)
})

it('a restart in the middle of the reading goes on where it was', async () => {
  await query(`insert into backups (file_name, file_path, original_path, file_size, file_type, status)
    select 'p' || n, '2020/01/p' || n || '.jpg', 'p' || n, 50000, 'photo', 'Completed' from generate_series(1, 400) n`)
  const many = Object.fromEntries(
    Array.from({ length: 400 }, (_, n) => [`2020/01/p${n + 1}.jpg`, noise(50_000, `many ${n}`)]),
  )
  await writeFiles({ ...FILES, ...many })
  const running = await start()
  await until('some are read', async () => {
    const [row] = await query('select count(*)::int as n from files where checksum is not null')
    return Number(row?.['n']) > 5
  })
  await running.kill()
  const read = await query(`select path, encode(checksum, 'hex') as sha from files where checksum is not null`)
  for (const row of read) {
    const path = String(row['path'])
    expect(row['sha'], path).toBe(sha256(many[path] ?? FILES[path] ?? Buffer.alloc(0)))
  }
  await start()
  // Also the notes, which nobody had recorded: the server comes upon them by itself.
  await until('every file is read', async () => {
    const [row] = await query('select count(*)::int as n from files where checksum is not null')
    return row?.['n'] === 400 + 5
  })
  await untilRead()
  const [size] = await query(`select l.files = f.files and l.bytes = f.bytes as is_right from library_size l,
    (select count(*) as files, sum(size) as bytes from originals where lost_at is null) f`)
  expect(size).toEqual({ is_right: true })
})

describe('with a folder in which the old photos are not', () => {
  it.each(['that is empty', 'that does not exist', 'that holds other things'])(
    '%s: the drive is missing, and not one byte is written',
    async (kind) => {
      if (kind !== 'that does not exist') await mkdir(library)
      if (kind === 'that holds other things') await writeFile(join(library, 'mount the drive here.txt'), '')
      const before = await readdir(library).catch(() => undefined)
      const running = await start()
      for (let round = 0; round < 2; round++) {
        expect(await upload(running.url, photo)).toMatchObject({ status: 503, body: { code: 'drive_missing' } })
        expect(await get(running.url, '/storage/status')).toMatchObject({
          status: 503,
          body: { code: 'drive_missing' },
        })
      }
      expect((await get(running.url, '/ping')).status).toBe(200)
      expect((await get(running.url, '/backup/log')).body.total).toBe(ROWS.length)
      expect(await readdir(library).catch(() => undefined)).toEqual(before)

      // The drive is mounted.
      await writeFiles()
      await until('it is taken over', async () => (await upload(running.url, photo)).status === 200)
      await untilRead()
      expect(await originalsIn(library)).toEqual([...Object.keys(FILES), ...(before ?? [])].sort())
    },
  )
})
