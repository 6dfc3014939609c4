import { createHash } from 'node:crypto'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createLibrary, type Library } from '../../src/archive/library.ts'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { beginJournal, rememberLibrary } from '../../src/catalogue/library.ts'
import type { LibraryPath } from '../../src/format/layout.ts'
import { GATHER_MS, JournalKeeper, PATIENCE_MS } from '../../src/journal/keeper.ts'
import { migrate } from '../../src/migrations/migrate.ts'
import { io } from '../../src/storage/io.ts'
import { openJournal } from '../../src/storage/journal/reader.ts'
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
  keeper = await JournalKeeper.create(db, silentLog)
  library = createLibrary(db, drive, {
    minFreeSpace: 0,
    timeZone: 'UTC',
    lostAndUnread,
    now: () => new Date(),
    changed: (change) => keeper.note(change),
  })
})
afterEach(async () => {
  vi.restoreAllMocks()
  await keeper.close()
  await db.destroy()
  await database.drop()
  await removeFolder(root)
})

const idle = () => false

/** Adds a completed asset to the catalogue; returns its id. */
async function addBackup(name: string, folder = '2024/07'): Promise<number> {
  await mkdir(join(root, folder), { recursive: true })
  const checksum = createHash('sha256').update(name).digest()
  await sql`insert into files (path, checksum, size) values (${`${folder}/${name}`}, ${checksum}, 1)`.execute(db)
  const { rows } = await sql<{ id: number }>`
    insert into backups (file_name, file_path, file_type, status)
    values (${name}, ${`${folder}/${name}`}, 'photo', 'Completed') returning id`.execute(db)
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

/** Opens it and waits until it has caught up with what it may have missed before. */
async function open(isBusy = idle): Promise<void> {
  keeper.open(library, isBusy, () => false)
  await until('there is a snapshot', async () => (await snapshots()).length === 1)
}

/** As a new start of the server does. */
async function restart(): Promise<void> {
  await keeper.close()
  keeper = await JournalKeeper.create(db, silentLog)
}

describe('the journal’s keeper', () => {
  it('writes many changes with one append, and a row that is gone as removed', async () => {
    await open()
    const appended = vi.spyOn(io, 'datasync')
    const names = Array.from({ length: 30 }, (_, index) => `photo ${index + 10}`)
    const ids: number[] = []
    for (const name of names) ids.push(await addBackup(name))
    for (const id of ids) keeper.note({ backups: [id] })
    await untilTold(...names)
    await until('they have their sums', async () => (await summedIn(join(root, '2024/07'))).length === names.length)
    // The log and the SHA256SUMS, and what else is written after the start.
    expect(appended.mock.calls.length).toBeLessThan(names.length / 3)
    await sql`delete from backups where id = ${ids[1]}`.execute(db)
    keeper.note({ backups: [ids[1] ?? 0] })
    await untilTold(...names.filter((_, index) => index !== 1))
  })

  it('waits for more, and for uploads, no longer than it may take until the drive tells of a change: five seconds', () => {
    expect(GATHER_MS + PATIENCE_MS).toBeLessThan(5_000)
  })

  it('takes notes before the drive is there, and writes them when it is', async () => {
    keeper.note({ backups: [await addBackup('early')] })
    await open()
    await untilTold('early')
  })

  it('writes everything anew when it is not known what has changed', async () => {
    await open()
    const before = await snapshots()
    await addBackup('unsure')
    keeper.note({ unsure: true })
    await untilTold('unsure')
    expect(await snapshots()).not.toEqual(before)
    await until('the sum is there', async () => (await summedIn(join(root, '2024/07'))).includes('unsure'))
  })

  it('writes everything anew when more has changed than it keeps in mind', async () => {
    await open()
    const before = await snapshots()
    await addBackup('one of many')
    keeper.note({ ignored: Array.from({ length: 200_001 }, (_, index) => index + 1) })
    await untilTold('one of many')
    expect(await snapshots()).not.toEqual(before)
  })

  it('comes to an end with its snapshot under any load', async () => {
    await addBackup('a')
    await open(() => true)
    await untilTold('a')
    await until('the sum is there', async () => (await summedIn(join(root, '2024/07'))).includes('a'))
  })

  it('tries again what has failed, without losing anything or writing it twice', async () => {
    await open()
    vi.spyOn(io, 'datasync').mockImplementationOnce(async () => {
      throw Object.assign(new Error('EIO'), { code: 'EIO', syscall: 'fdatasync' })
    })
    const id = await addBackup('again')
    keeper.note({ backups: [id] })
    await untilTold('again')
    await until('it has its sum', async () => (await summedIn(join(root, '2024/07'))).length > 0)
    expect(await summedIn(join(root, '2024/07'))).toEqual(['again'])
  })

  it('writes on when one folder’s SHA256SUMS can’t be written', async () => {
    await open()
    await mkdir(join(root, '2024/06/SHA256SUMS'), { recursive: true })
    keeper.note({ backups: [await addBackup('a', '2024/06'), await addBackup('b')] })
    await untilTold('a', 'b')
    await until('the other has its sum', async () => (await summedIn(join(root, '2024/07'))).includes('b'))
    await rm(join(root, '2024/06/SHA256SUMS'), { recursive: true })
    await until('this one, too', async () => (await summedIn(join(root, '2024/06'))).includes('a'))
  })

  it('takes an original that the catalogue has no more out of the SHA256SUMS', async () => {
    await open()
    const id = await addBackup('old')
    keeper.note({ backups: [id] })
    await until('it is there', async () => (await summedIn(join(root, '2024/07'))).includes('old'))
    await sql`update backups set file_path = null`.execute(db)
    await sql`delete from files`.execute(db)
    keeper.note({ backups: [id], originals: ['2024/07/old' as LibraryPath] })
    await until('it is gone', async () => (await summedIn(join(root, '2024/07'))).length === 0)
  })

  it('leaves a journal that has everything when it is closed, and says so for the next start', async () => {
    await open()
    keeper.note({ backups: [await addBackup('last')] })
    await restart()
    expect(keeper.wasComplete).toBe(true)
    expect(await told()).toEqual(['last'])
    expect(await summedIn(join(root, '2024/07'))).toEqual(['last'])
    const before = await journalIn(root)
    keeper.open(library, idle, () => false)
    await restart()
    expect(await journalIn(root)).toEqual(before)
  })

  it('says nothing of the kind when the drive was away, and catches up at the next start', async () => {
    await open()
    await rename(join(root, '.iclood'), join(root, 'away'))
    keeper.note({ backups: [await addBackup('last')] })
    await restart()
    expect(keeper.wasComplete).toBe(false)
    await rename(join(root, 'away'), join(root, '.iclood'))
    keeper.open(library, idle, () => false)
    await untilTold('last')
  })

  it('says nothing of the kind while an upload may still be recorded', async () => {
    await open(() => true)
    await restart()
    expect(keeper.wasComplete).toBe(false)
  })

  it('that never got to the drive leaves things as they were', async () => {
    await open()
    await restart()
    await restart()
    expect(keeper.wasComplete).toBe(true)
    keeper.note({ backups: [await addBackup('unwritten')] })
    await restart()
    expect(keeper.wasComplete).toBe(false)
    // Nobody else says that it is.
    expect(await beginJournal(db)).toBe(false)
  })
})
