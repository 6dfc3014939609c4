import { createHash } from 'node:crypto'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createLibrary, type Library } from '../../src/archive/library.ts'
import { withResolvers } from '../../src/base/resolvers.ts'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { rememberLibrary } from '../../src/catalogue/library.ts'
import { tellAsSnapshot } from '../../src/catalogue/outbox.ts'
import { AT_MOST_MS, JournalKeeper, LOOK_MS } from '../../src/journal/keeper.ts'
import { migrate } from '../../src/migrations/migrate.ts'
import { io } from '../../src/storage/io.ts'
import { openJournal } from '../../src/storage/journal/reader.ts'
import { JournalWriter } from '../../src/storage/journal/writer.ts'
import { lostAndUnread } from '../../src/verify/lost-and-unread.ts'
import { journalIn, summedIn } from '../support/journal.ts'
import { openLibrary } from '../support/library.ts'
import { silentLog, startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder } from '../support/server.ts'
import { until } from '../support/until.ts'

let root: string
let database: TestDatabase
let db: Database
let library: Library
let keeper: JournalKeeper
beforeEach(async () => {
  root = await makeFolder()
  database = await startTestDatabase()
  db = openDatabase(database.connection, () => {})
  await migrate(db)
  const { drive } = await openLibrary(root)
  await rememberLibrary(db, drive.id)
  library = createLibrary(db, drive, { minFreeSpace: 0, timeZone: 'UTC', lostAndUnread, now: () => new Date() })
  keeper = newKeeper()
})
afterEach(async () => {
  vi.restoreAllMocks()
  await keeper.close()
  await db.destroy()
  await database.drop()
  await removeFolder(root)
})

const idle = () => false

const newKeeper = (isBusy = idle) => new JournalKeeper(library, { isBusy, log: silentLog })

/** Adds a completed asset to the catalogue; returns its id. */
async function addBackup(name: string, folder = '2024/07', within = db): Promise<number> {
  await mkdir(join(root, folder), { recursive: true })
  const checksum = createHash('sha256').update(name).digest()
  await sql`insert into files (path, checksum, size) values (${`${folder}/${name}`}, ${checksum}, 1)`.execute(within)
  const { rows } = await sql<{ id: number }>`
    insert into backups (file_name, file_path, file_type, status)
    values (${name}, ${`${folder}/${name}`}, 'photo', 'Completed') returning id`.execute(within)
  return rows[0]?.id ?? 0
}

/** The names of the assets that the journal tells of. */
async function told(): Promise<string[]> {
  const reading = await openJournal(root, [library.drive.id])
  const names = new Map<number, string>()
  for await (const record of reading?.records ?? []) {
    if (record.type === 'backup') names.set(record.id, record.name)
    if (record.type === 'removed' && record.what === 'backup') names.delete(record.id)
  }
  return [...names.values()].sort()
}

const untilTold = (...names: readonly string[]) =>
  // A file may be replaced between the look at the folder and at the file.
  until(`${names} are told`, async () => (await told().catch(() => [])).join() === names.join())

const snapshots = async () => (await journalIn(root)).filter((name) => name.includes('snapshot'))

/** What is not on the drive yet. */
const unwritten = async () => db.selectFrom('outbox').select(['what', 'key']).execute()

/** Starts it and waits until it has written what there was. */
async function start(isBusy = idle): Promise<void> {
  keeper = newKeeper(isBusy)
  keeper.start()
  await until('there is a snapshot', async () => (await snapshots()).length === 1)
  await until('nothing is left', async () => (await unwritten()).length === 0)
}

/** As a new start of the server does. */
async function restart(): Promise<void> {
  await keeper.close()
  await start()
}

describe('the journal’s keeper', () => {
  it('writes many changes with one append, and a row that is gone as removed', async () => {
    await start()
    const appended = vi.spyOn(io, 'datasync')
    const names = Array.from({ length: 30 }, (_, index) => `photo ${index + 10}`)
    const ids: number[] = []
    for (const name of names) ids.push(await addBackup(name))
    await untilTold(...names)
    await until('they have their sums', async () => (await summedIn(join(root, '2024/07'))).length === names.length)
    // The log and the SHA256SUMS, and what else is written after the start.
    expect(appended.mock.calls.length).toBeLessThan(names.length / 3)
    await sql`delete from backups where id = ${ids[1]}`.execute(db)
    await untilTold(...names.filter((_, index) => index !== 1))
  })

  it('waits for more, and for uploads, no longer than it may take until the drive tells of a change: five seconds', () => {
    expect(LOOK_MS + AT_MOST_MS).toBeLessThan(5_000)
  })

  it('writes what has changed while no server was there, when one is', async () => {
    await addBackup('early')
    await start()
    await untilTold('early')
  })

  it('writes everything anew when a snapshot is owed, and then owes none', async () => {
    await start()
    const before = await snapshots()
    await db.transaction().execute(async (transaction) => {
      await tellAsSnapshot(transaction)
      await addBackup('many', '2024/07', transaction)
    })
    expect(await unwritten()).toEqual([
      { what: 'snapshot', key: '' },
      { what: 'sums', key: '2024/07' },
      { what: 'snapshot', key: '' },
    ])
    await untilTold('many')
    expect(await snapshots()).not.toEqual(before)
    await until('the sum is there', async () => (await summedIn(join(root, '2024/07'))).includes('many'))
    await until('nothing is left', async () => (await unwritten()).length === 0)
  })

  it('writes one snapshot for a journal that has become too long, however long that takes', async () => {
    const append = () => new JournalWriter(library.drive, library.committer, library.now).append([])
    for (let logs = 0; logs < 66; logs++) await append()
    await sql`
      insert into backups (file_name, file_type, status)
      select 'one of many', 'photo', 'Completed' from generate_series(1, 2500)`.execute(db)
    const written = vi.spyOn(JournalWriter.prototype, 'writeSnapshot')
    await start(() => true)
    expect(written).toHaveBeenCalledTimes(1)
  })

  it('comes to an end with its snapshot under any load', async () => {
    await addBackup('a')
    await start(() => true)
    await untilTold('a')
    await until('the sum is there', async () => (await summedIn(join(root, '2024/07'))).includes('a'))
  })

  it('tries again what has failed, without losing anything or writing it twice', async () => {
    await start()
    vi.spyOn(io, 'datasync').mockImplementationOnce(async () => {
      throw Object.assign(new Error('EIO'), { code: 'EIO', syscall: 'fdatasync' })
    })
    await addBackup('again')
    await untilTold('again')
    await until('it has its sum', async () => (await summedIn(join(root, '2024/07'))).length > 0)
    expect(await summedIn(join(root, '2024/07'))).toEqual(['again'])
  })

  it('writes on when one folder’s SHA256SUMS can’t be written, and does not forget that one', async () => {
    await start()
    await mkdir(join(root, '2024/06/SHA256SUMS'), { recursive: true })
    await addBackup('a', '2024/06')
    await addBackup('b')
    await untilTold('a', 'b')
    await until('the other has its sum', async () => (await summedIn(join(root, '2024/07'))).includes('b'))
    await until('one is left', async () => (await unwritten()).length === 1)
    expect(await unwritten()).toEqual([{ what: 'sums', key: '2024/06' }])
    await keeper.close()
    await rm(join(root, '2024/06/SHA256SUMS'), { recursive: true })
    await restart()
    expect(await summedIn(join(root, '2024/06'))).toEqual(['a'])
  })

  it('takes an original that the catalogue has no more out of the SHA256SUMS', async () => {
    await start()
    await addBackup('old')
    await until('it is there', async () => (await summedIn(join(root, '2024/07'))).includes('old'))
    await sql`update backups set file_path = null`.execute(db)
    await sql`delete from files`.execute(db)
    await until('it is gone', async () => (await summedIn(join(root, '2024/07'))).length === 0)
  })

  it('leaves a journal that has everything when it is closed, to which the next start has nothing to add', async () => {
    await start()
    await addBackup('last')
    await keeper.close()
    expect(await unwritten()).toEqual([])
    expect(await told()).toEqual(['last'])
    expect(await summedIn(join(root, '2024/07'))).toEqual(['last'])
    const before = await journalIn(root)
    await restart()
    await keeper.close()
    expect(await journalIn(root)).toEqual(before)
  })

  it('keeps in the outbox what a drive that is away could not be told, and writes it at the next start', async () => {
    await start()
    await rename(join(root, '.iclood'), join(root, 'away'))
    await addBackup('last')
    await keeper.close()
    expect(await unwritten()).toHaveLength(2)
    await rename(join(root, 'away'), join(root, '.iclood'))
    await restart()
    expect(await told()).toEqual(['last'])
  })

  it('takes nothing out of the outbox that has changed while it was being written', async () => {
    await start()
    const id = await addBackup('first name')
    const datasync = io.datasync
    vi.spyOn(io, 'datasync').mockImplementationOnce(async (file) => {
      await datasync(file)
      await sql`update backups set file_name = 'second name' where id = ${id}`.execute(db)
    })
    await untilTold('second name')
  })

  it('holds up nobody while the drive does not answer: no connection, no lock', async () => {
    await start()
    const asked = withResolvers<void>()
    const answered = withResolvers<void>()
    const datasync = io.datasync
    vi.spyOn(io, 'datasync').mockImplementationOnce(async (file) => {
      asked.resolve()
      await answered.promise
      await datasync(file)
    })
    await addBackup('held up')
    await asked.promise
    const { rows } = await sql<{ count: number }>`
      select count(*) as count from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'`.execute(db)
    expect(rows).toEqual([{ count: 0 }])
    await db.deleteFrom('outbox').execute()
    answered.resolve()
    await untilTold('held up')
  })
})
