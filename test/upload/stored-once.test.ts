import { createHash } from 'node:crypto'
import { link, lstat, mkdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { LibraryPath, MonthFolder } from '../../src/format/layout.ts'
import type { Checksum } from '../../src/media/checksum.ts'
import { originalsIn } from '../support/drives.ts'
import { type Faults, injectFaults, named, pathOf, systemError } from '../support/faults.ts'
import { type InProcessServer, startInProcess } from '../support/in-process.ts'
import { jpeg, mov } from '../support/media.ts'
import { type Answer, post, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder } from '../support/server.ts'

let root: string
let database: TestDatabase
let server: InProcessServer
let faults: Faults

beforeEach(async () => {
  root = await makeFolder()
  database = await startTestDatabase()
  server = await startInProcess(root, database)
  faults = injectFaults()
})
afterEach(async () => {
  faults.restore()
  await server.stop()
  await database.drop()
  await removeFolder(root)
})

const photo = (seed: string) => jpeg({ date: '2024:07:01 12:00:00', seed, size: 20_000 })
/** Only the phone says when it was taken. */
const bare = jpeg({ noExif: true, seed: 'bare', size: 20_000 })
const film = mov({ creationDate: '2024-07-01T12:00:01+0200', seed: 'film', size: 20_000 })
const JULY = Date.UTC(2024, 6, 1, 10)
const AUGUST = Date.UTC(2024, 7, 1, 10)

/** How a file is sent. */
interface Sending {
  bytes: Buffer
  name?: string
  device?: string
  created?: number
}

function send({ bytes, name = 'IMG_1.JPG', device = 'iPhone', created }: Sending): Promise<Answer> {
  const when = created === undefined ? {} : { created: String(created) }
  return upload(server.url, bytes, { name, fields: { device_id: device, original_path: `/DCIM/${name}`, ...when } })
}

async function put(path: string, bytes: Buffer): Promise<void> {
  await mkdir(join(root, path, '..'), { recursive: true })
  await writeFile(join(root, path), bytes)
}

/** Has the database go away whenever an original is to be recorded, until `comeBack`. */
async function goAway(): Promise<void> {
  await sql`create function away() returns trigger language plpgsql as $$
    begin raise exception 'away' using errcode = '57P01'; end $$`.execute(server.db)
  await sql`create trigger away before insert on files execute function away()`.execute(server.db)
}

async function comeBack(): Promise<void> {
  await sql`drop function away cascade`.execute(server.db)
}

/** Under how many names the drive has these bytes. */
async function copiesOf(bytes: Buffer): Promise<string[]> {
  const paths = await originalsIn(root)
  const copies = await Promise.all(paths.map(async (path) => (await readFile(join(root, path))).equals(bytes)))
  return paths.filter((_, index) => copies[index])
}

interface Story {
  name: string
  /** What is stored before. */
  before?: Sending[]
  /** A list that a phone has sent. */
  announced?: object
  /** What gets its place, but no row. */
  left: Sending
  /** What happens then. */
  between?: () => Promise<unknown>
  /** How it is sent once more. */
  again: Sending
}

/** A number below the one that a photo got is free again. */
async function forget(path: string): Promise<void> {
  await rm(join(root, path))
  await sql`delete from backups where file_path = ${path}`.execute(server.db)
  await sql`delete from files where path = ${path}`.execute(server.db)
}

const STORIES: Story[] = [
  { name: 'sent again as it was', left: { bytes: photo('a') }, again: { bytes: photo('a') } },
  {
    name: 'with a gap in the numbers before its own',
    before: [{ bytes: photo('a') }, { bytes: photo('b') }],
    left: { bytes: photo('c') },
    between: () => forget('2024/07/IMG_1 (2).JPG'),
    again: { bytes: photo('c') },
  },
  {
    name: 'sent again by another phone, under another name',
    left: { bytes: photo('a') },
    again: { bytes: photo('a'), name: 'copy of it.jpeg', device: 'iPad' },
  },
  {
    name: 'said to be of another month then',
    left: { bytes: bare, created: JULY },
    again: { bytes: bare, created: AUGUST },
  },
  {
    name: 'when the drive has been away as well',
    left: { bytes: bare, created: JULY },
    between: () => utimes(join(root, '.iclood/library.json'), new Date(), new Date()),
    again: { bytes: bare, created: AUGUST },
  },
  {
    name: 'the film of a Live Photo whose still has come meanwhile, of another month than was announced',
    before: [{ bytes: photo('a') }],
    announced: { device_id: 'iPad', files: [{ path: '/DCIM/IMG_1.JPG', created: AUGUST }] },
    left: { bytes: film, name: 'IMG_1.MOV', device: 'iPad' },
    between: () => send({ bytes: photo('b'), device: 'iPad' }),
    again: { bytes: film, name: 'IMG_1.MOV', device: 'iPad' },
  },
]

describe('an original that the database went away from before it was recorded is stored once', () => {
  it.each(named(STORIES))('%s', async (_, { before = [], announced, left, between, again }) => {
    for (const sending of before) expect(await send(sending)).toMatchObject({ status: 201 })
    if (announced !== undefined) await post(server.url, '/photos/new', announced)
    await goAway()
    expect(await send(left)).toMatchObject({ status: 503, body: { code: 'database_unavailable' } })
    await comeBack()
    expect(await copiesOf(left.bytes)).toHaveLength(1)
    await between?.()

    const { status, body } = await send(again)
    expect(status).toBe(201)
    expect(await copiesOf(left.bytes)).toEqual([body.backup.file_path])
    expect(await send(again)).toMatchObject({ status: 200 })
  })
})

describe('an original that lies in its month without a record is stored once', () => {
  it.each(['IMG_1 (3).JPG', 'img_1.jpg', 'IMG_1 (2).jpeg', 'IMG_0007.JPG', 'Cafe\u0301.JPG'])('as %s', async (name) => {
    expect(await send({ bytes: photo('first') })).toMatchObject({ status: 201 })
    await put(`2024/07/${name}`, photo('a'))
    const { status, body } = await send({ bytes: photo('a') })
    expect({ status, path: body.backup.file_path }).toEqual({ status: 201, path: `2024/07/${name}` })
    expect(await copiesOf(photo('a'))).toHaveLength(1)
    expect(await send({ bytes: photo('a'), device: 'iPad' })).toMatchObject({ status: 200 })
  })

  it('and is adopted between the question to the catalogue and the look at the folder', async () => {
    const path = '2024/07/IMG_9.JPG'
    await put(path, photo('a'))
    faults.behave('lstat', async (...args) => {
      const file = await lstat(String(pathOf(args[0])), { bigint: true })
      if (pathOf(args[0]) === join(root, path)) {
        await sql`insert into files (path, size) values (${path}, ${Number(file.size)}) on conflict do nothing`.execute(
          server.db,
        )
      }
      return file
    })
    const { status, body } = await send({ bytes: photo('a') })
    expect({ status, path: body.backup.file_path }).toEqual({ status: 200, path })
    expect(await copiesOf(photo('a'))).toEqual([path])
  })
})

it('an original whose name was taken, while the drive said that it was not, is stored once', async () => {
  faults.behave('link', async (...args) => {
    await link(String(pathOf(args[0])), String(pathOf(args[1])))
    throw systemError('EIO', 'link', args)
  })
  expect(await send({ bytes: bare, created: JULY })).toMatchObject({ status: 503, body: { code: 'drive_error' } })
  faults.behave('link', undefined)
  expect(await send({ bytes: bare, created: AUGUST })).toMatchObject({ status: 201 })
  expect(await copiesOf(bare)).toEqual(['2024/07/IMG_1.JPG'])
})

it('bytes that have changed since are no reason not to store it', async () => {
  await goAway()
  expect(await send({ bytes: bare, created: JULY })).toMatchObject({ status: 503 })
  await comeBack()
  await writeFile(join(root, '2024/07/IMG_1.JPG'), Buffer.alloc(bare.length))
  const { status, body } = await send({ bytes: bare, created: AUGUST })
  expect({ status, path: body.backup.file_path }).toEqual({ status: 201, path: '2024/08/IMG_1.JPG' })
})

it('what another upload is just storing is no stranger to those that come meanwhile, which would read it', async () => {
  await put('2024/07/IMG_1.JPG', photo('under way'))
  await put('2024/07/IMG_2.JPG', photo('a stranger'))
  const checksum = createHash('sha256').update(photo('under way')).digest('hex') as Checksum
  server.library.unrecorded.note(checksum, '2024/07/IMG_1.JPG' as LibraryPath)
  expect(await server.library.names.strangers('2024/07' as MonthFolder)).toEqual(['IMG_2.JPG'])
  expect(await server.library.names.isFree('2024/07' as MonthFolder, 'IMG_1.JPG')).toBe(false)
})
