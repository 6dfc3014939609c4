import { createHash, randomUUID } from 'node:crypto'
import { cp, mkdir, readFile, rename, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type CommandResult, runCommand } from '../support/command.ts'
import { originalsIn } from '../support/drives.ts'
import { answersOf, backUpHousehold } from '../support/household.ts'
import { journalIn } from '../support/journal.ts'
import { jpeg, mov } from '../support/media.ts'
import { get, post, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

let folder: string
let library: string
let database: TestDatabase
let server: TestServer | undefined

beforeEach(async () => {
  folder = await makeFolder()
  library = join(folder, 'drive')
  database = await startTestDatabase()
})

afterEach(async () => {
  await server?.stop()
  server = undefined
  await database.drop()
  await removeFolder(folder)
})

/** Starts a server on `library`, which it opens. */
async function start(env: Record<string, string> = {}): Promise<TestServer> {
  const running = await startServer(folder, { UPLOAD_FOLDER: library, DATABASE_URL: database.url, ...env })
  server = running
  await until('the library is open', async () => (await get(running.url, '/storage/status')).status === 200)
  return running
}

async function stop(): Promise<void> {
  await server?.stop()
  server = undefined
}

const rebuild = (...args: string[]): Promise<CommandResult> =>
  runCommand(folder, ['rebuild', ...args], { UPLOAD_FOLDER: library, DATABASE_URL: database.url })

async function query(text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(database.connection)
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(text)).rows
  } finally {
    await client.end()
  }
}

/** All rows of all tables, and where the sequences stand. */
async function dump(): Promise<unknown> {
  const tables = await query(
    `select table_name as name from information_schema.tables where table_schema = 'public' order by 1`,
  )
  const rows: Record<string, unknown> = {}
  for (const { name } of tables) {
    rows[String(name)] = await query(`select to_jsonb(t)::text as row from "${name}" as t order by 1`)
  }
  return { rows, sequences: await query('select sequencename, last_value from pg_sequences order by 1') }
}

const photo = (seed: string, size = 20_000) => jpeg({ date: '2024:07:01 12:00:00', seed: `adoption ${seed}`, size })

const send = (running: TestServer, seed: string, name = `${seed}.JPG`) =>
  upload(running.url, photo(seed), { name, fields: { original_path: `/DCIM/${name}`, device_id: 'iPhone' } })

const photosIn = async (root: string) => (await originalsIn(root)).filter((path) => !path.endsWith('SHA256SUMS'))

const isAskedFor = async (running: TestServer, name: string) =>
  (await post(running.url, '/photos/new', { device_id: 'iPhone', files: [{ path: `/DCIM/${name}` }] })).body.count === 1

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

describe('on a healthy library, `iclood rebuild`', () => {
  it('changes nothing in any table, and says so', async () => {
    const running = await start()
    for (const seed of ['a', 'b', 'c']) expect(await send(running, seed)).toMatchObject({ status: 201 })
    await post(running.url, '/photos/ignore', { files: [{ path: '/DCIM/x' }, { path: '/DCIM/y' }] })
    await post(running.url, '/photos/unignore', { files: [{ path: '/DCIM/x' }] })
    await post(running.url, '/photos/new', { device_id: 'iPhone', files: [{ path: '/DCIM/pending' }] })
    await stop()

    const before = await dump()
    const result = await rebuild()
    expect(result).toMatchObject({ code: 0, stdout: expect.stringContaining('Nothing was changed') })
    expect(await dump()).toEqual(before)
    expect(JSON.parse((await rebuild('--json')).stdout)).toMatchObject({ changed: false, lost: 0 })
  })

  it('changes nothing beside the running server, whose journal lags behind it', async () => {
    const running = await start()
    await send(running, 'a')
    const log = async () => (await get(running.url, '/backup/log')).body
    const sending = (async () => {
      for (let n = 0; n < 30; n++) await send(running, `more ${n}`)
    })()
    for (let n = 0; n < 2; n++) {
      expect(JSON.parse((await rebuild('--json')).stdout)).toMatchObject({ from_journal: { backups: 0, originals: 0 } })
    }
    await sending
    expect((await log()).total).toBe(31)
    expect(await query('select path, count(*) from files group by path having count(*) > 1')).toEqual([])
  })

  it('beside uploads takes none of them for a stranger, and each is answered and stored once', async () => {
    const running = await start()
    // Gives a rebuild time to see a file that has its name and is not recorded yet.
    await query(`
      create function linger() returns trigger language plpgsql as $$ begin perform pg_sleep(0.1); return new; end $$;
      create trigger linger before insert on files for each row when (new.checksum is not null) execute function linger()`)
    let isOver = false
    const rebuilding = (async () => {
      const results = []
      while (!isOver) results.push(await rebuild('--json'))
      return results
    })()
    const answers = await Promise.all(
      Array.from({ length: 6 }, async (_, sender) => {
        const statuses = []
        for (let n = 0; n < 10; n++) statuses.push((await send(running, `${sender} ${n}`, 'SAME.JPG')).status)
        return statuses
      }),
    )
    isOver = true
    for (const { code } of await rebuilding) expect(code).toBe(0)
    expect(new Set(answers.flat())).toEqual(new Set([201]))
    expect(await photosIn(library)).toHaveLength(60)
    const [row] = await query('select count(*)::int as files, count(distinct checksum)::int as contents from files')
    expect(row).toEqual({ files: 60, contents: 60 })
  })

  it('takes none for a stranger, however long its record takes: the upload is answered, and stored once', async () => {
    const running = await start()
    const holder = new pg.Client(database.connection)
    await holder.connect()
    await holder.query(`
      create function hold() returns trigger language plpgsql as $$
      begin perform pg_advisory_xact_lock_shared(1, 1); return new; end $$;
      create trigger hold before insert on files for each row when (new.checksum is not null) execute function hold()`)
    await holder.query('select pg_advisory_lock(1, 1)')
    const sending = send(running, 'slow')
    await until('it has its name', async () => (await photosIn(library)).length === 1)
    expect(JSON.parse((await rebuild('--json')).stdout)).toMatchObject({ adopted_files: 0, read_files: 0 })
    await holder.end()
    expect(await sending).toMatchObject({ status: 201, body: { backup: { file_path: '2024/07/slow.JPG' } } })
    expect(await photosIn(library)).toEqual(['2024/07/slow.JPG'])
    expect(await isAskedFor(running, 'slow.JPG')).toBe(false)
  })
})

describe('a file without a record', () => {
  it('is adopted at the start after the server was killed before it could record it', async () => {
    const running = await start()
    await send(running, 'before')
    await query(`
      create function refuse() returns trigger language plpgsql as $$ begin raise 'refused' using errcode = '53100'; end $$;
      create trigger refuse before insert on files execute function refuse()`)
    expect(await send(running, 'lost row')).toMatchObject({ status: 503 })
    await running.kill()
    await query('drop trigger refuse on files')
    expect(await photosIn(library)).toHaveLength(2)
    expect(await query('select from files')).toHaveLength(1)

    const again = await start()
    expect(await query('select from files')).toHaveLength(2)
    expect(await send(again, 'lost row')).toMatchObject({ status: 200 })
    expect(await photosIn(library)).toHaveLength(2)
  })

  it('is not stored a second time when it comes again, though its place would be another one by now', async () => {
    const running = await start()
    const still = jpeg({ date: '2024:01:05 10:00:00', seed: 'adoption still' })
    const film = mov({ creationDate: '2024-03-05T10:00:01+0100', seed: 'adoption film', size: 50_000 })
    const halves = ['IMG_0001.JPG', 'IMG_0001.MOV'].map((name) => ({ path: `/DCIM/${name}`, name }))
    const files = halves.map((half) => ({ ...half, id: 'live', created: Date.UTC(2024, 2, 5, 9) }))
    await post(running.url, '/photos/new', { device_id: 'iPhone', files })
    const sendHalf = (name: string, bytes: Buffer) => {
      const fields = { original_path: `/DCIM/${name}`, device_id: 'iPhone', asset_id: 'live' }
      return upload(running.url, bytes, { name, fields })
    }
    await query(`
      create function refuse() returns trigger language plpgsql as $$ begin raise 'refused' using errcode = '53100'; end $$;
      create trigger refuse before insert on files for each row when (new.path like '%.MOV') execute function refuse()`)
    expect(await sendHalf('IMG_0001.MOV', film)).toMatchObject({ status: 503 })
    expect(await photosIn(library)).toEqual(['2024/03/IMG_0001.MOV'])
    expect(await sendHalf('IMG_0001.JPG', still)).toMatchObject({ status: 201 })
    await query('drop trigger refuse on files')
    expect((await sendHalf('IMG_0001.MOV', film)).body.backup.file_path).toBe('2024/03/IMG_0001.MOV')
    expect(await photosIn(library)).toEqual(['2024/01/IMG_0001.JPG', '2024/03/IMG_0001.MOV'])
  })

  it('is adopted by the running server that could not record it, when the database is well again', async () => {
    const running = await start()
    await send(running, 'known')
    await query(`
      create function refuse() returns trigger language plpgsql as $$ begin raise 'refused' using errcode = '53100'; end $$;
      create trigger refuse before insert on files for each row when (new.checksum is not null) execute function refuse()`)
    expect(await send(running, 'refused')).toMatchObject({ status: 503 })
    await until('it is adopted and read', async () => {
      const rows = await query(`select from files where path like '%refused.JPG' and checksum is not null`)
      return rows.length === 1
    })
  })

  it('is adopted by `iclood rebuild` beside the running server, whatever it is called and whatever its times are', async () => {
    const running = await start()
    await send(running, 'known')
    const names = [
      'plain.jpg',
      'e\u0301 decomposed.jpg',
      'line\nfeed.jpg',
      'back\\slash.jpg',
      `${'long'.repeat(60)}.jpg`,
    ]
    for (const name of names) await writeFile(join(library, '2024/07', name), photo(name))
    await utimes(join(library, '2024/07/plain.jpg'), -5_000_000_000, 300_000_000_000)
    // None of these is an original.
    await writeFile(join(library, '2024/07/.DS_Store'), 'x')
    await writeFile(join(library, '2024/07/Thumbs.db'), 'x')
    await writeFile(join(library, '2024/notes.txt'), 'x')
    await mkdir(join(library, '2024/07/folder.jpg'))
    await symlink('/etc/passwd', join(library, '2024/07/link.jpg'))
    await mkdir(join(folder, 'elsewhere'))
    await writeFile(join(folder, 'elsewhere/far.jpg'), photo('far'))
    await symlink(join(folder, 'elsewhere'), join(library, '2024/08'))

    const result = await rebuild('--json')
    expect(result.code).toBe(0)
    expect(JSON.parse(result.stdout)).toMatchObject({ adopted_files: names.length, read_files: names.length })
    const rows = await query(`select path, encode(checksum, 'hex') as sha from files where path not like '%known.JPG'`)
    expect(new Map(rows.map(({ path, sha }) => [path, sha]))).toEqual(
      new Map(names.map((name) => [`2024/07/${name}`, sha256(photo(name))])),
    )
    expect(JSON.parse((await rebuild('--json')).stdout)).toMatchObject({ changed: false })
    const originals = await photosIn(library)
    for (const name of names)
      expect(await upload(running.url, photo(name), { name: 'other.jpg' })).toMatchObject({ status: 200 })
    expect(await photosIn(library)).toEqual(originals)
  })

  it('that is not what its folder’s SHA256SUMS says is not taken for intact: it is put aside, and asked for', async () => {
    const running = await start()
    for (const seed of ['sound', 'rotten']) await send(running, seed)
    await stop()
    const sums = await readFile(join(library, '2024/07/SHA256SUMS'), 'utf8')
    expect(sums).toContain(sha256(photo('rotten')))
    const rotten = photo('rotten')
    rotten[5000] = (rotten[5000] ?? 0) ^ 1
    await writeFile(join(library, '2024/07/rotten.JPG'), rotten)
    await rm(join(library, '.iclood/journal'), { recursive: true })
    await database.drop()
    database = await startTestDatabase()

    const result = await rebuild('--json')
    expect(result.code).toBe(1)
    expect(JSON.parse(result.stdout)).toMatchObject({ adopted_files: 2, lost: 1 })
    expect(await photosIn(library)).toEqual(['2024/07/sound.JPG'])
    const again = await start()
    expect(await send(again, 'sound')).toMatchObject({ status: 200 })
    expect(await send(again, 'rotten')).toMatchObject({ status: 201 })
    expect((await readFile(join(library, '2024/07/rotten.JPG'))).equals(photo('rotten'))).toBe(true)
    expect(running.url).not.toBe(again.url)
  })

  it('is adopted while the server runs, when the drive has been away and is back', async () => {
    const running = await start()
    await send(running, 'known')
    await rename(library, `${library} elsewhere`)
    await until('the drive is missed', async () => (await get(running.url, '/storage/status')).status === 503)
    await writeFile(join(`${library} elsewhere`, '2024/07/while away.jpg'), photo('while away'))
    await rename(`${library} elsewhere`, library)
    await until(
      'it is adopted and read',
      async () => (await query(`select from files where checksum is not null`)).length === 2,
    )
    expect(await send(running, 'while away')).toMatchObject({ status: 200 })
  })
})

describe('an original that the drive does not have', () => {
  it('is asked for again after a rebuild, which counts it and ends with 1', async () => {
    const running = await start()
    for (const seed of ['there', 'gone', 'short']) await send(running, seed)
    await stop()
    await rm(join(library, '2024/07/gone.JPG'))
    await truncate(join(library, '2024/07/short.JPG'), 100)
    await database.drop()
    database = await startTestDatabase()

    const result = await rebuild()
    expect(result).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/Not on the drive, or damaged there: 2\..*verify/),
    })
    const again = await start()
    for (const [name, isAsked] of [
      ['there.JPG', false],
      ['gone.JPG', true],
      ['short.JPG', true],
    ] as const) {
      expect(await isAskedFor(again, name), name).toBe(isAsked)
    }
    const log = await get(again.url, '/backup/log?status=Failed')
    expect(log.body.backups.map((one: { file_name: string }) => one.file_name).sort()).toEqual([
      'gone.JPG',
      'short.JPG',
    ])
    for (const seed of ['gone', 'short']) expect(await send(again, seed)).toMatchObject({ status: 201 })
    expect(await photosIn(library)).toEqual(['2024/07/gone.JPG', '2024/07/short.JPG', '2024/07/there.JPG'])
    expect(running.url).not.toBe(again.url)
  })

  it('is asked for at once when the server rebuilds at its start', async () => {
    await send(await start(), 'gone')
    await stop()
    await rm(join(library, '2024/07/gone.JPG'))
    await database.drop()
    database = await startTestDatabase()
    expect(await isAskedFor(await start({ AUTO_REBUILD: 'true' }), 'gone.JPG')).toBe(true)
  })

  it('and was lost before the database was: it is asked for as before, and is back when it comes', async () => {
    await send(await start(), 'gone')
    await stop()
    await rm(join(library, '2024/07/gone.JPG'))
    expect((await rebuild()).code).toBe(1)
    // The server writes down what it finds changed.
    await start()
    await stop()
    await database.drop()
    database = await startTestDatabase()
    expect((await rebuild()).code).toBe(1)
    const running = await start()
    expect(await isAskedFor(running, 'gone.JPG')).toBe(true)
    expect(await send(running, 'gone')).toMatchObject({ status: 201 })
    expect(await isAskedFor(running, 'gone.JPG')).toBe(false)
    expect(JSON.parse((await rebuild('--json')).stdout)).toMatchObject({ lost: 0 })
  })
})

describe('a second copy of a library', () => {
  /** Makes a copy of the drive that says it is the mirror of it, with all but one original. */
  async function makeMirror(): Promise<{ mirror: string; first: string }> {
    const mirror = join(folder, 'mirror')
    await cp(library, mirror, { recursive: true })
    const { id } = JSON.parse(await readFile(join(library, '.iclood/library.json'), 'utf8'))
    const file = { format: 1, id: randomUUID(), created: new Date().toISOString(), mirror_of: id }
    await writeFile(join(mirror, '.iclood/library.json'), JSON.stringify(file))
    await rm(join(mirror, '2024/07/late.JPG'))
    return { mirror, first: library }
  }

  it('gives a new database everything that it has', async () => {
    const running = await start()
    for (const seed of ['early', 'late']) await send(running, seed)
    await stop()
    const { mirror } = await makeMirror()
    await database.drop()
    database = await startTestDatabase()
    library = mirror
    const again = await start({ AUTO_REBUILD: 'true' })
    expect(await isAskedFor(again, 'early.JPG')).toBe(false)
    expect(await isAskedFor(again, 'late.JPG')).toBe(true)
    expect((await get(again.url, '/backup/log')).body.total).toBe(2)
    await stop()
    expect(await isAskedFor(await start(), 'early.JPG')).toBe(false)
    expect(running.url).not.toBe(again.url)
  })

  it('that the server itself has kept gives a new database everything, with every answer as it was', async () => {
    const mirror = join(folder, 'second drive')
    const running = await start({ MIRROR_FOLDER: mirror })
    const household = await backUpHousehold(running)
    const answers = await answersOf(running, household)
    const originals = await photosIn(library)
    await until('everything is copied', async () => {
      const copied = await photosIn(mirror).catch(() => [])
      return copied.length === originals.length && (await journalIn(mirror)).length > 0
    })
    await stop()
    await rename(library, `${library} that died`)
    library = mirror
    await database.drop()
    database = await startTestDatabase()
    const again = await start({ AUTO_REBUILD: 'true' })
    expect(await answersOf(again, household)).toEqual(answers)
  })

  it('takes the place of the first one only when a person says so, and the waiting server goes on by itself', async () => {
    const running = await start()
    for (const seed of ['early', 'late']) await send(running, seed)
    await stop()
    const { mirror } = await makeMirror()
    library = mirror

    const waiting = await startServer(folder, { UPLOAD_FOLDER: library, DATABASE_URL: database.url })
    server = waiting
    const refused = await get(waiting.url, '/storage/status')
    expect(refused).toMatchObject({ status: 503, body: { code: 'drive_missing' } })
    expect(refused.body.message).toMatch(/second copy.*iclood -- rebuild/)
    expect((await get(waiting.url, '/backup/log')).body.total).toBe(2)
    expect(await photosIn(library)).toEqual(['2024/07/early.JPG'])

    const result = await rebuild()
    expect(result).toMatchObject({ code: 1, stdout: expect.stringContaining('taken the place of the first') })
    await until('it goes on', async () => (await get(waiting.url, '/storage/status')).status === 200)
    expect(await isAskedFor(waiting, 'late.JPG')).toBe(true)
    expect(await send(waiting, 'late')).toMatchObject({ status: 201 })
    expect(running.url).not.toBe(waiting.url)
  })

  it('does not take it while a server works with the first one', async () => {
    await send(await start(), 'late')
    const { mirror, first } = await makeMirror()
    library = mirror
    expect(await rebuild()).toMatchObject({ code: 2, stderr: expect.stringContaining('Stop it first') })
    library = first
    expect(JSON.parse((await rebuild('--json')).stdout)).toMatchObject({ changed: false })
  })
})

it('without a library, or with another one, a rebuild changes nothing, says why and ends with 2', async () => {
  await send(await start(), 'a')
  await stop()
  const before = await dump()
  library = join(folder, 'nothing')
  expect(await rebuild()).toMatchObject({ code: 2, stderr: expect.stringContaining('no photo library') })
  await mkdir(join(library, '.iclood'), { recursive: true })
  await writeFile(join(library, '.iclood/library.json'), JSON.stringify({ format: 1, id: randomUUID() }))
  expect(await rebuild()).toMatchObject({ code: 2, stderr: expect.stringContaining('another library') })
  expect(await dump()).toEqual(before)
})
