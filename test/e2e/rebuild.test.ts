import { createHash } from 'node:crypto'
import { cp, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openDatabase } from '../../src/catalogue/connection.ts'
import { formatLine } from '../../src/format/journal-line.ts'
import type { JournalLine } from '../../src/format/journal-record.ts'
import { migrate } from '../../src/migrations/migrate.ts'
import { type CommandResult, runCommand, startCommand } from '../support/command.ts'
import { originalsIn } from '../support/drives.ts'
import { answersOf, backUpHousehold, type Household, sendAsset } from '../support/household.ts'
import { backupRecord, ignoredRecord, JOURNAL, journalIn, originalFacts } from '../support/journal.ts'
import { jpeg } from '../support/media.ts'
import { get, post, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { randomFor, rounds } from '../support/rounds.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { EMBEDDED } from '../support/surroundings.ts'
import { until } from '../support/until.ts'

/**
 * A drive as it is after a clean stop, what the server answered, and the database that belongs to it; nobody changes
 * them.
 */
let template: { folder: string; library: string; household: Household; answers: unknown; database: TestDatabase }

let folder: string
let library: string
let server: TestServer | undefined
let databases: TestDatabase[]

beforeAll(async () => {
  const [folder, database] = [await makeFolder(), await startTestDatabase()]
  const running = await startServer(folder, { DATABASE_URL: database.url })
  const household = await backUpHousehold(running)
  const answers = await answersOf(running, household)
  await running.stop()
  template = { folder, library: running.library, household, answers, database }
})

afterAll(async () => {
  await removeFolder(template.folder)
})

beforeEach(async () => {
  folder = await makeFolder()
  library = join(folder, 'drive')
  databases = []
})

afterEach(async () => {
  await server?.stop()
  server = undefined
  for (const database of databases) await database.drop()
  await removeFolder(folder)
})

async function newDatabase(): Promise<TestDatabase> {
  const database = await startTestDatabase()
  databases.push(database)
  return database
}

/** Starts a server on `library`, which it opens. */
async function start(env: Record<string, string>): Promise<TestServer> {
  server = await startServer(folder, { UPLOAD_FOLDER: library, ...env })
  await untilOpen(server)
  return server
}

async function stop(): Promise<void> {
  await server?.stop()
  server = undefined
}

const rebuild = (env: Record<string, string>, ...args: string[]): Promise<CommandResult> =>
  runCommand(folder, ['rebuild', ...args], { UPLOAD_FOLDER: library, ...env })

/** Whether one process waits for a lock that `holder` has in its database; tests share a PostgreSQL. */
async function isHeldUp(holder: pg.Client): Promise<boolean> {
  const waiting = await holder.query(`
    select from pg_locks join pg_database on pg_database.oid = pg_locks.database
    where locktype = 'advisory' and not granted and datname = current_database()`)
  return waiting.rowCount === 1
}

const query = async (database: TestDatabase, text: string): Promise<Record<string, unknown>[]> => {
  const client = new pg.Client(database.connection)
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(text)).rows
  } finally {
    await client.end()
  }
}

/** Everything below a folder, with its bytes. */
async function contentsOf(root: string): Promise<Map<string, string>> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return new Map(await Promise.all(files.sort().map(async (path) => [path, await readFile(path, 'base64')] as const)))
}

const untilOpen = (running: TestServer) =>
  until('the library is open', async () => (await get(running.url, '/storage/status')).status === 200)

const photosIn = async (root: string) => (await originalsIn(root)).filter((path) => !path.endsWith('SHA256SUMS'))

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** Everything comes again: nothing of it is new, and nothing is stored twice. */
async function expectAllKnown(running: TestServer, { assets }: Household): Promise<void> {
  const before = await photosIn(library)
  for (const asset of assets) expect(await sendAsset(running, asset), asset.path).toMatchObject({ status: 200 })
  expect(await photosIn(library)).toEqual(before)
}

describe('a household whose database was lost', () => {
  it('gets every answer back as it was when the server starts, with the embedded database', async () => {
    const household = await backUpHousehold(await start(EMBEDDED))
    const before = await answersOf(server as TestServer, household)
    await stop()
    await rm(join(folder, 'data/postgres'), { recursive: true })

    const running = await start(EMBEDDED)
    expect(running.output()).toContain('the database is empty, but the drive holds a library')
    expect(await answersOf(running, household)).toEqual(before)
    await expectAllKnown(running, household)
  })

  it('is told so, with a database of its own, and gets every answer back from `iclood rebuild` beside the waiting server', async () => {
    await cp(template.library, library, { recursive: true })
    const untouched = await contentsOf(library)
    const database = await newDatabase()
    const { household } = template

    const running = await startServer(folder, { UPLOAD_FOLDER: library, DATABASE_URL: database.url })
    server = running
    const refusal = { status: 503, body: { status: 'error', code: 'rebuild_needed' } }
    expect(await get(running.url, '/ping')).toMatchObject({ status: 200 })
    expect(await get(running.url, '/backup/log')).toMatchObject(refusal)
    expect(await post(running.url, '/photos/new', { files: [{ path: 'x' }] })).toMatchObject(refusal)
    expect(await post(running.url, '/photos/ignore', { files: [{ path: 'x' }] })).toMatchObject(refusal)
    expect(await upload(running.url, jpeg({}))).toMatchObject(refusal)
    expect((await get(running.url, '/storage/status')).body.message).toMatch(/iclood -- rebuild.*AUTO_REBUILD=true/)
    expect(await contentsOf(library)).toEqual(untouched)

    const rebuilt = await rebuild({ DATABASE_URL: database.url })
    expect(rebuilt).toMatchObject({ code: 0 })
    expect(rebuilt.stdout).toMatch(/From the journal: \d+ backups of \d+ photos and videos, 3 ignored files/)
    await untilOpen(running)
    expect(await answersOf(running, household)).toEqual(template.answers)
    await expectAllKnown(running, household)
  })

  it('gets every answer back with AUTO_REBUILD and a database of its own', async () => {
    await cp(template.library, library, { recursive: true })
    const running = await start({ DATABASE_URL: (await newDatabase()).url, AUTO_REBUILD: 'true' })
    expect(await answersOf(running, template.household)).toEqual(template.answers)
  })

  it('gets every answer back on another machine, with a fresh installation under another path', async () => {
    library = join(folder, 'media/usb/photos')
    await mkdir(dirname(library), { recursive: true })
    await cp(template.library, library, { recursive: true })
    const running = await start(EMBEDDED)
    expect(await answersOf(running, template.household)).toEqual(template.answers)
    await stop()
    const again = await start(EMBEDDED)
    expect(await answersOf(again, template.household)).toEqual(template.answers)
    await expectAllKnown(again, template.household)
  })

  it('gets new ids behind the old ones', async () => {
    await cp(template.library, library, { recursive: true })
    const database = await newDatabase()
    const running = await start({ DATABASE_URL: database.url, AUTO_REBUILD: 'true' })
    const [highest] = await query(template.database, 'select max(id)::int as id from backups')
    const added = await upload(running.url, jpeg({ seed: 'behind' }), { name: 'BEHIND.JPG' })
    expect(added.body.backup.id).toBeGreaterThan(Number(highest?.['id']) - 100)
    const ids = await query(database, 'select id, count(*) from backups group by id having count(*) > 1')
    expect(ids).toEqual([])
  })

  it('can be rebuilt in pieces: Ctrl-C says how to go on', async () => {
    await cp(template.library, library, { recursive: true })
    const database = await newDatabase()
    const db = openDatabase({ connectionString: database.url }, () => {})
    await migrate(db)
    await db.destroy()
    const holder = new pg.Client(database.connection)
    await holder.connect()
    // What a rebuild begins with.
    await holder.query('select pg_advisory_lock(7236844, 5)')
    const running = startCommand(folder, ['rebuild'], { UPLOAD_FOLDER: library, DATABASE_URL: database.url })
    await until('it has begun', () => isHeldUp(holder))
    running.process.kill('SIGINT')
    await holder.end()
    const { code, stderr } = await running.result
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining('run the same command again') })
    expect(await query(database, 'select from backups')).toEqual([])
    expect(await rebuild({ DATABASE_URL: database.url })).toMatchObject({ code: 0 })
  })
})

describe('a rebuild that is killed', () => {
  const STRANGER = '2024/07/STRANGER.JPG'
  let expected: unknown
  let missing: string

  /** The drive of the household after somebody has put a photo there and taken one away. */
  async function layDrive(): Promise<void> {
    await cp(template.library, library, { recursive: true })
    await writeFile(join(library, STRANGER), jpeg({ seed: 'stranger' }))
    missing = (await photosIn(library)).find((path) => path.startsWith('2024/01/')) ?? ''
    await rm(join(library, missing))
  }

  beforeAll(async () => {
    folder = await makeFolder()
    library = join(folder, 'drive')
    const database = await startTestDatabase()
    await layDrive()
    const running = await start({ DATABASE_URL: database.url, AUTO_REBUILD: 'true' })
    expected = await answersOf(running, template.household)
    await stop()
    await database.drop()
    await removeFolder(folder)
  })

  /**
   * What holds it up when the step is over: the table that the next step writes to, and when. (Every step:
   * test/faults/rebuild-crash.test.ts.)
   */
  const HOLDS = {
    '2 import': 'before insert on files for each row when (new.checksum is null) execute function hold()',
    '4 look': 'before update on files for each row when (old.checksum is null) execute function hold()',
  }

  it.each(Object.entries(HOLDS))('after step %s is completed by the next start', async (_, moment) => {
    await layDrive()
    const database = await newDatabase()
    const db = openDatabase({ connectionString: database.url }, () => {})
    await migrate(db)
    await db.destroy()
    const holder = new pg.Client(database.connection)
    await holder.connect()
    await holder.query(`
      create function hold() returns trigger language plpgsql as $$
      begin perform pg_advisory_xact_lock_shared(1, 1); return new; end $$`)
    await holder.query(`create trigger hold ${moment}`)
    await holder.query('select pg_advisory_lock(1, 1)')
    const running = startCommand(folder, ['rebuild'], { UPLOAD_FOLDER: library, DATABASE_URL: database.url })
    await until('it is held up', () => isHeldUp(holder))
    running.process.kill('SIGKILL')
    await running.result
    await holder.query('select pg_advisory_unlock_all()')
    await until('the killed one is gone from the database', async () => {
      const left = await holder.query(`
        select from pg_stat_activity where application_name = 'iclood' and datname = current_database()`)
      return left.rowCount === 0
    })
    await holder.query('drop function hold cascade')
    await holder.end()

    const server = await start({ DATABASE_URL: database.url, AUTO_REBUILD: 'true' })
    expect(await answersOf(server, template.household)).toEqual(expected)
    expect(await upload(server.url, jpeg({ seed: 'stranger' }))).toMatchObject({ status: 200 })
    await until('everything has been read', async () => {
      return (await query(database, 'select from files where checksum is null')).length === 0
    })
    const again = await rebuild({ DATABASE_URL: database.url }, '--json')
    expect(again, again.stderr).toMatchObject({ code: 1 })
    expect(JSON.parse(again.stdout)).toMatchObject({ changed: false, lost: 1 })
  })
})

describe('a library whose journal is damaged', () => {
  /** A server whose database has been brought back from what is left. */
  async function rebuilt(): Promise<TestServer> {
    return start({ DATABASE_URL: (await newDatabase()).url, AUTO_REBUILD: 'true' })
  }

  it('or missing: what phones send again is known by its content, and nothing is stored twice', async () => {
    const { household } = template
    await cp(template.library, library, { recursive: true })
    await rm(join(library, JOURNAL), { recursive: true })
    const originals = await photosIn(library)
    const running = await rebuilt()
    expect((await get(running.url, '/backup/log')).body.total).toBe(0)
    const asked = await post(running.url, '/photos/new', {
      device_id: 'somebody',
      files: household.assets.map(({ path, bytes }) => ({ path, sha256: sha256(bytes) })),
    })
    // Whether they have been read yet or not.
    for (const asset of household.assets) expect(await sendAsset(running, asset)).toMatchObject({ status: 200 })
    expect(await photosIn(library)).toEqual(originals)
    await until('all have been read', async () => running.output().includes('read all photos that had not been'))
    const again = await post(running.url, '/photos/new', {
      device_id: 'somebody else',
      files: household.assets.map(({ path, bytes }) => ({ path, sha256: sha256(bytes) })),
    })
    expect(again.body).toMatchObject({ count: 0, backed_up_count: household.assets.length })
    expect(asked.status).toBe(200)
  })

  it('and only journal files of nobody are left: `iclood rebuild` says so and reads the photos', async () => {
    await cp(template.library, library, { recursive: true })
    for (const name of await journalIn(library)) await writeFile(join(library, JOURNAL, name), 'not a line\n')
    const database = await newDatabase()
    const result = await rebuild({ DATABASE_URL: database.url }, '--json')
    expect(result.code).toBe(0)
    expect(JSON.parse(result.stdout)).toMatchObject({
      changed: true,
      from_journal: { backups: 0, originals: 0, ignored: 0 },
      adopted_files: (await photosIn(library)).length,
      read_files: (await photosIn(library)).length,
      lost: 0,
    })
    expect(JSON.parse(result.stdout).journal_damaged_lines).toBeGreaterThan(0)
  })

  it('in one line, or torn at any byte: what is left counts, and nothing is stored twice', async () => {
    const [log = ''] = (await journalIn(template.library)).filter((name) => name.endsWith('.jsonl'))
    const bytes = await readFile(join(template.library, JOURNAL, log))
    const random = randomFor('torn journals')
    for (let round = 0; round < rounds(2); round++) {
      const kind = round % 2 === 0 ? 'flipped' : 'cut'
      const position = Math.floor(random() * bytes.length)
      const about = `${kind} at byte ${position} of ${bytes.length}`
      library = join(folder, `drive ${round}`)
      await cp(template.library, library, { recursive: true })
      const path = join(library, JOURNAL, log)
      if (kind === 'cut') await truncate(path, position)
      else
        await writeFile(
          path,
          bytes.map((byte, at) => (at === position ? byte ^ 1 : byte)),
        )
      const running = await rebuilt()
      expect((await get(running.url, '/backup/log')).status, about).toBe(200)
      await expectAllKnown(running, template.household)
      await stop()
    }
  })

  it('at its end: with the last word of the newest snapshot torn off, everything is as it was', async () => {
    await cp(template.library, library, { recursive: true })
    const names = (await journalIn(library)).filter((name) => name.includes('snapshot'))
    const newest = join(library, JOURNAL, names.at(-1) ?? 'there is none')
    await truncate(newest, (await readFile(newest)).length - 20)
    expect(await answersOf(await rebuilt(), template.household)).toEqual(template.answers)
  })

  it('by somebody who writes whole lines that nobody should believe: they are left out, and the rest is as it was', async () => {
    await cp(template.library, library, { recursive: true })
    await appendHostileLines(library)
    const running = await rebuilt()
    expect(await answersOf(running, template.household)).toEqual(template.answers)
  })
})

/** Lines that are whole, with a right check, in a log of their own. */
async function appendHostileLines(library: string): Promise<void> {
  const [first = ''] = await journalIn(library)
  const [head = ''] = (await readFile(join(library, JOURNAL, first), 'utf8')).split('\n')
  const fine = backupRecord(900_000)
  const original = fine.original ?? originalFacts('2024/07/x', 1)
  const hostile: object[] = [
    ...[
      '../../../etc/passwd',
      '/etc/passwd',
      '.iclood/library.json',
      '2024/07/a\0b',
      `2024/07/${'x'.repeat(3000)}`,
    ].map((path) => ({ ...fine, original: { ...original, path } })),
    ...[0, -1, 1e18, 1.5].map((id) => ({ ...fine, id })),
    ...['2024-02-31T00:00:00.000Z', '0000-01-01T00:00:00.000Z', 'Mon, 01 Jul 2024 00:00:00 Z'].map((at) => ({
      ...fine,
      at,
    })),
    ...[-1, 2 ** 60, Number.MAX_SAFE_INTEGER].map((size) => ({ ...fine, size })),
    { ...fine, device: 'x'.repeat(10_000) },
    { ...fine, kind: 'x'.repeat(10_000) },
    { ...fine, name: 'half a pair \ud800' },
    { ...fine, phone_path: 'a\0b' },
    { ...fine, original: { ...original, captured_offset: 1e9 } },
    { ...fine, original: { ...original, sha256: 'x' } },
    { ...ignoredRecord(900_000), phone_path: 'a\0b' },
    { type: 'removed', what: 'original', path: '../x' },
    { type: 'photograph', id: 1 },
  ]
  const lines = hostile.map((line) => formatLine(line as JournalLine))
  await writeFile(join(library, JOURNAL, '99999998-log.jsonl'), `${head}\n${lines.join('')}`)
}
