import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { findLibraryId } from '../../src/catalogue/library.ts'
import { formatLine } from '../../src/format/journal-line.ts'
import type { JournalLine } from '../../src/format/journal-record.ts'
import { migrate } from '../../src/migrations/migrate.ts'
import { restoreJournal } from '../../src/rebuild/restore-journal.ts'
import { backupRecord, ignoredRecord, JOURNAL, originalFacts } from '../support/journal.ts'
import { startTestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder } from '../support/server.ts'

const FIRST = '5f3a1c1e-0000-4000-8000-000000000001'
const MIRROR = '5f3a1c1e-0000-4000-8000-000000000002'
const AT = '2024-08-01T00:00:00.000Z'

let root: string
let db: Database

beforeAll(async () => {
  const database = await startTestDatabase()
  db = openDatabase(database.connection, () => {})
  await migrate(db)
})
afterAll(() => db.destroy())

beforeEach(async () => {
  root = await makeFolder()
  await sql`truncate backups, files, ignored_files restart identity cascade`.execute(db)
  await sql`update places set identity = null`.execute(db)
})
afterEach(() => removeFolder(root))

/** A log of the library `FIRST` with these lines. */
const writeLog = (...lines: (JournalLine | string)[]) => writeJournalFile('00000001-log.jsonl', 'log', lines)

function writeJournalFile(name: string, kind: 'log' | 'snapshot', lines: readonly (JournalLine | string)[]): void {
  const header: JournalLine = { type: 'header', format: 1, library: FIRST, kind, created: AT }
  const text = [header, ...lines].map((line) => (typeof line === 'string' ? `${line}\n` : formatLine(line))).join('')
  mkdirSync(join(root, JOURNAL), { recursive: true })
  writeFileSync(join(root, JOURNAL, name), text)
}

const restore = (
  id: string,
  mirrorOf: string | null,
  { signal = new AbortController().signal, report = () => {} } = {},
) => restoreJournal(db, root, { id, mirrorOf }, { report, signal })

const verified = { ...backupRecord(1), original: { ...originalFacts('2024/07/a.jpg', 1), verified_at: AT } }
const alone: JournalLine = { type: 'original', ...originalFacts('2024/07/b.jpg', 2), verified_at: AT }

async function verifiedAt(): Promise<unknown[]> {
  return (
    await sql<{ verified_at: Date | null }>`select verified_at from originals order by path`.execute(db)
  ).rows.map((row) => row.verified_at?.toISOString() ?? null)
}

it('what was read back, as the journal says, does not count: this server has not read it', async () => {
  writeLog(verified, alone)
  expect(await restore(FIRST, null)).toMatchObject({ hasJournal: true, backups: 1, originals: 2, damaged: 0 })
  expect(await verifiedAt()).toEqual([null, null])
})

it('what was read back on the drive that this one is a mirror of does not', async () => {
  writeLog(verified, alone)
  expect(await restore(MIRROR, FIRST)).toMatchObject({ hasJournal: true, backups: 1, originals: 2 })
  expect(await verifiedAt()).toEqual([null, null])
})

it('times that can’t be true are none', async () => {
  const ahead = '9999-12-31T23:59:59.000Z'
  const original = { ...originalFacts('2024/07/a.jpg', 1), stored_at: ahead, captured_at: ahead, verified_at: ahead }
  const ignored: JournalLine = { ...ignoredRecord(1), at: ahead }
  writeLog(
    { ...backupRecord(1), at: ahead, original },
    { type: 'original', ...original, path: '2024/07/b.jpg' },
    ignored,
  )
  expect(await restore(FIRST, null)).toMatchObject({ backups: 1, originals: 2, ignored: 1, damaged: 0 })
  const { rows } = await sql`
    select coalesce(captured_at, stored_at, verified_at, own_date) as time from originals
    union all select timestamp from backups union all select timestamp from ignored_files`.execute(db)
  expect(rows).toEqual(Array.from({ length: 4 }, () => ({ time: null })))
})

it('an id that came with the bytes, as the journal says, proves nothing: this server has not seen it', async () => {
  writeLog({ ...backupRecord(1), ...{ is_identified: true } })
  expect(await restore(FIRST, null)).toMatchObject({ backups: 1 })
  const { rows } =
    await sql`select asset_id, is_identified, own_date from backups join files on path = file_path`.execute(db)
  expect(rows).toEqual([{ asset_id: backupRecord(1).asset_id, is_identified: false, own_date: null }])
})

it('lines that can’t be read and lines that can’t be believed are counted, and left out', async () => {
  writeLog(verified, 'torn', { ...verified, id: 2, at: '2024-02-31T00:00:00.000Z' }, alone)
  expect(await restore(FIRST, null)).toMatchObject({ backups: 1, originals: 2, damaged: 2 })
})

it('a snapshot that replaces it while it is read is read instead', async () => {
  writeLog(verified)
  writeJournalFile('00000002-log.jsonl', 'log', [alone])
  let isReplaced = false
  const replaceOnce = () => {
    if (isReplaced) return
    isReplaced = true
    const third = { ...backupRecord(3), original: originalFacts('2024/07/c.jpg', 3) }
    writeJournalFile('00000003-snapshot.jsonl', 'snapshot', [verified, alone, third, { type: 'end', lines: 3 }])
    for (const name of ['00000001-log.jsonl', '00000002-log.jsonl']) rmSync(join(root, JOURNAL, name))
  }
  expect(await restore(FIRST, null, { report: replaceOnce })).toMatchObject({ backups: 2, originals: 3, damaged: 0 })
})

it('a file that is gone without a snapshot in its place is an error: the drive may be going', async () => {
  writeLog(verified)
  writeJournalFile('00000002-log.jsonl', 'log', [alone])
  const report = () => rmSync(join(root, JOURNAL, '00000002-log.jsonl'), { force: true })
  await expect(restore(FIRST, null, { report })).rejects.toMatchObject({ code: 'drive_error' })
  expect(await verifiedAt()).toEqual([])
})

it('without a journal the catalogue belongs to the library, and knows nothing', async () => {
  expect(await restore(FIRST, null)).toEqual({ hasJournal: false, damaged: 0, backups: 0, originals: 0, ignored: 0 })
  expect(await findLibraryId(db)).toBe(FIRST)
})

it('given up, it leaves nothing behind', async () => {
  writeLog(verified)
  await expect(restore(FIRST, null, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough')
  expect(await findLibraryId(db)).toBeUndefined()
  expect(await verifiedAt()).toEqual([])
})
