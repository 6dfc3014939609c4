import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { allRecords } from '../../src/catalogue/journal-rows.ts'
import { findLibraryId } from '../../src/catalogue/library.ts'
import { listMirrors, rememberMirror } from '../../src/catalogue/places.ts'
import { moveToMirror } from '../../src/catalogue/rebuild/move.ts'
import { hasRows, restoreCatalogue } from '../../src/catalogue/rebuild/restore.ts'
import type { BackupRecord, IgnoredRecord, JournalRecord, OriginalFacts } from '../../src/format/journal-record.ts'
import { migrate } from '../../src/migrations/migrate.ts'
import { anyBackup, backupRecord, ignoredRecord, originalFacts } from '../support/journal.ts'
import { startTestDatabase } from '../support/postgres.ts'
import { fc } from '../support/property.ts'
import { rounds } from '../support/rounds.ts'

const LIBRARY = '5f3a1c1e-0000-4000-8000-000000000001'
const OTHER = '5f3a1c1e-0000-4000-8000-000000000002'

let db: Database

beforeAll(async () => {
  const database = await startTestDatabase()
  db = openDatabase(database.connection, () => {}, { statementMs: 0 })
  await migrate(db)
})
afterAll(() => db.destroy())
beforeEach(empty)

async function empty(): Promise<void> {
  await sql`truncate backups, files, ignored_files, copies, findings restart identity cascade`.execute(db)
  await sql`update places set identity = null`.execute(db)
}

async function* stream(records: Iterable<JournalRecord>): AsyncGenerator<JournalRecord> {
  yield* records
}

const restore = (records: Iterable<JournalRecord>) => restoreCatalogue(db, LIBRARY, stream(records))

/** What the journal would say of the catalogue now, by kind and id or path. */
async function told(): Promise<Map<string, JournalRecord>> {
  const found = new Map<string, JournalRecord>()
  for await (const page of allRecords(db)) for (const record of page) found.set(keyOf(record), record)
  return found
}

function keyOf(record: JournalRecord): string {
  if (record.type === 'original') return `original ${record.path}`
  if (record.type === 'removed')
    return record.what === 'original' ? `original ${record.path}` : `${record.what} ${record.id}`
  return `${record.type} ${record.id}`
}

/** The last word about each thing, as a person would read it from the lines. */
function lastWords(records: readonly JournalRecord[]): Map<string, JournalRecord> {
  const facts = new Map<string, OriginalFacts>()
  const last = new Map<string, JournalRecord>()
  for (const record of records) {
    last.set(keyOf(record), record)
    const original = record.type === 'backup' ? record.original : null
    if (record.type === 'original') facts.set(record.path, record)
    if (original === null) continue
    facts.set(original.path, original)
    last.set(`original ${original.path}`, { type: 'original', ...original })
  }
  const standing = [...last].filter(([, record]) => record.type !== 'removed')
  const referred = new Set(
    standing.flatMap(([, one]) => (one.type === 'backup' && one.original !== null ? one.original.path : [])),
  )
  const result = new Map<string, JournalRecord>()
  for (const [key, record] of standing) {
    if (record.type === 'backup') {
      const path = record.original?.path
      result.set(key, { ...record, original: path === undefined ? null : factsOnly(facts.get(path)) })
    } else if (record.type !== 'original') result.set(key, record)
    else if (!referred.has(record.path)) result.set(key, { type: 'original', ...factsOnly(record) })
  }
  return result
}

function factsOnly(facts: OriginalFacts | undefined): OriginalFacts {
  if (facts === undefined) throw new Error('no facts')
  const { path, sha256, size, media_type, captured_at, captured_offset, stored_at } = facts
  const id = facts.content_id === undefined ? {} : { content_id: facts.content_id }
  return { path, sha256, size, media_type, captured_at, captured_offset, ...id, stored_at, verified_at: null }
}

const few = fc.integer({ min: 1, max: 5 })
const anyPath = few.map((n) => `2024/0${n}/IMG.JPG`)
const anyFacts = fc.record({ path: anyPath, content: few }).map(({ path, content }) => originalFacts(path, content))
const anyRecord: fc.Arbitrary<JournalRecord> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ backup: anyBackup, id: few, original: fc.option(anyFacts), isFailed: fc.boolean() }).map(
      ({ backup, id, original, isFailed }): BackupRecord => ({
        ...backup,
        id,
        original,
        status: isFailed ? 'Failed' : 'Completed',
      }),
    ),
  },
  { weight: 1, arbitrary: anyFacts.map((facts) => ({ type: 'original' as const, ...facts })) },
  { weight: 1, arbitrary: few.map((id): IgnoredRecord => ignoredRecord(id)) },
  {
    weight: 1,
    arbitrary: fc
      .record({ what: fc.constantFrom('backup' as const, 'ignored' as const), id: few })
      .map((one) => ({ type: 'removed' as const, ...one })),
  },
  { weight: 1, arbitrary: anyPath.map((path) => ({ type: 'removed' as const, what: 'original' as const, path })) },
)
const anyRecords = fc.array(anyRecord, { maxLength: 40 })

describe('an empty catalogue', () => {
  it('gets the last word about each thing, whatever was said before', async () => {
    await fc.assert(
      fc.asyncProperty(anyRecords, async (records) => {
        await empty()
        await restore(records)
        expect(await told()).toEqual(lastWords(records))
        const [totals] = (
          await sql`select
          (select coalesce(sum(count), 0)::int from backup_totals) as counted, (select count(*)::int from backups) as rows,
          (select coalesce(sum(files), 0)::int from place_totals) as counted_files, (select count(*)::int from files) as files
        `.execute(db)
        ).rows as Record<string, number>[]
        expect(totals?.['counted']).toBe(totals?.['rows'])
        expect(totals?.['counted_files']).toBe(totals?.['files'])
      }),
      { numRuns: rounds(40) },
    )
  })

  it('is changed by nothing when the same comes again', async () => {
    await fc.assert(
      fc.asyncProperty(anyRecords, async (records) => {
        await empty()
        await restore(records)
        const once = await told()
        if (!(await hasRows(db))) return
        expect(await restore(records)).toEqual({ originals: 0, backups: 0, ignored: 0 })
        expect(await told()).toEqual(once)
      }),
      { numRuns: rounds(40) },
    )
  })

  it('gets what an older server ignored, of which it wrote less', async () => {
    const { created, announced_size, ignored_from, ...old } = ignoredRecord(41)
    expect(await restore([old])).toMatchObject({ ignored: 1 })
    expect((await told()).get('ignored 41')).toEqual({
      ...old,
      created: null,
      announced_size: null,
      ignored_from: null,
    })
  })

  it('gives no id twice, not even one that was taken away', async () => {
    await restore([backupRecord(7), backupRecord(90), { type: 'removed', what: 'backup', id: 90 }, ignoredRecord(40)])
    const backup = await sql<{ id: number }>`
      insert into backups (file_name, file_type, status) values ('x', 'photo', 'Pending') returning id`.execute(db)
    const ignored = await sql<{ id: number }>`
      insert into ignored_files (file_name, original_path) values ('x', 'x') returning id`.execute(db)
    expect([backup.rows[0]?.id, ignored.rows[0]?.id]).toEqual([91, 41])
  })

  it('knows an original that has failed backups alone as lost', async () => {
    const failed: BackupRecord = { ...backupRecord(1), status: 'Failed', failure: 'gone' }
    const old: BackupRecord = { ...backupRecord(2), status: 'Failed', failure: null }
    await restore([
      failed,
      old,
      { ...backupRecord(3), original: originalFacts('2024/07/both', 3) },
      { ...failed, id: 4, original: originalFacts('2024/07/both', 3) },
    ])
    const { rows } = await sql<{ path: string }>`select path from originals where lost_at is not null`.execute(db)
    expect(rows).toEqual([{ path: failed.original?.path }])
  })

  it('gets all or nothing', async () => {
    async function* torn(): AsyncGenerator<JournalRecord> {
      for (let id = 1; id <= 3000; id++) yield backupRecord(id)
      throw new Error('the drive is gone')
    }
    await expect(restoreCatalogue(db, LIBRARY, torn())).rejects.toThrow('the drive is gone')
    expect(await told()).toEqual(new Map())
    expect(await findLibraryId(db)).toBeUndefined()
    expect(await restore([backupRecord(1)])).toMatchObject({ backups: 1 })
  })

  it('is brought back by two at once as by one', async () => {
    const records = Array.from({ length: 2500 }, (_, id) => backupRecord(id + 1))
    const both = await Promise.all([restore(records), restore(records)])
    expect(both.map(({ backups }) => backups).sort()).toEqual([0, 2500])
    expect((await told()).size).toBe(2500)
  })
})

describe('a catalogue that is not empty', () => {
  it('keeps everything that it has, and gets the completed backups that it never heard of', async () => {
    await fc.assert(
      fc.asyncProperty(anyRecords, anyRecords, async (present, journal) => {
        await empty()
        await restore([...present, ignoredRecord(900)])
        const before = await told()
        await restore(journal)
        const after = await told()
        for (const [key, record] of before) {
          if (record.type === 'original') continue
          expect(after.get(key)).toEqual(record)
        }
        const added = [...after].filter(([key]) => !before.has(key)).map(([, record]) => record)
        for (const record of added) expect(record).toMatchObject({ type: 'backup', status: 'Completed' })
      }),
      { numRuns: rounds(40) },
    )
  })

  it('gives a backup whose id another asset has by now a new one', async () => {
    await restore([backupRecord(1), backupRecord(2)])
    expect(await restore([{ ...backupRecord(2, 'OTHER.JPG') }])).toMatchObject({ backups: 1, originals: 1 })
    const { rows } = await sql`select id, file_name from backups order by id`.execute(db)
    expect(rows).toEqual([
      { id: 1, file_name: 'IMG_1.JPG' },
      { id: 2, file_name: 'IMG_2.JPG' },
      { id: 3, file_name: 'OTHER.JPG' },
    ])
  })

  it('does not hear of what was ignored or failed, or of what the row itself knows better', async () => {
    const failedSince: BackupRecord = { ...backupRecord(1), status: 'Failed', failure: 'gone since' }
    const movedSince: BackupRecord = { ...backupRecord(2), original: originalFacts('2024/07/elsewhere.JPG', 2) }
    await restore([failedSince, movedSince])
    const failed: BackupRecord = { ...backupRecord(5), status: 'Failed', failure: 'x' }
    const journal = [backupRecord(1), backupRecord(2), failed, ignoredRecord(1)]
    expect(await restore(journal)).toEqual({ originals: 0, backups: 0, ignored: 0 })
    expect([...(await told()).values()]).toEqual([failedSince, movedSince])
  })

  it('does not take another content, or a lost one, for what the journal tells of', async () => {
    await restore([backupRecord(1)])
    const path = backupRecord(1).original?.path ?? ''
    const other: BackupRecord = { ...backupRecord(8, 'ELSE.JPG'), original: originalFacts(path, 99) }
    expect(await restore([other])).toMatchObject({ backups: 0 })
    await sql`update copies set wanted_since = now(), lost_at = now() where place = 0`.execute(db)
    expect(await restore([{ ...other, original: originalFacts(path, 1) }])).toMatchObject({ backups: 0 })
  })
})

it('a catalogue that moves to the mirror forgets what was read back on the other drive', async () => {
  await restore([backupRecord(1), backupRecord(2)])
  await sql`update copies set verified_at = '2024-01-01' where place = 0`.execute(db)
  const mirror = await rememberMirror(db, OTHER)
  await db
    .insertInto('copies')
    .values({ place: mirror.id, path: '2024/07/IMG_2.JPG', copied_at: new Date(), verified_at: new Date('2025-01-01') })
    .execute()
  await moveToMirror(db, OTHER, LIBRARY)
  const verified = async () =>
    (await sql`select verified_at::date::text as at from originals order by path`.execute(db)).rows
  expect(await verified()).toEqual([{ at: '2024-01-01' }, { at: '2024-01-01' }])
  await moveToMirror(db, LIBRARY, OTHER)
  expect(await verified()).toEqual([{ at: null }, { at: '2025-01-01' }])
  expect(await findLibraryId(db)).toBe(OTHER)
  expect(await listMirrors(db)).toEqual([])
  expect(await db.selectFrom('copies').selectAll().where('place', '<>', 0).execute()).toEqual([])
})
