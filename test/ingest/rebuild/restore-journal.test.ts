import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../../src/catalogue/connection.ts'
import { migrate } from '../../../src/catalogue/migrate.ts'
import { restoreJournal } from '../../../src/ingest/rebuild/restore-journal.ts'
import type { JournalLine } from '../../../src/journal-record.ts'
import { formatLine } from '../../../src/storage/journal/line.ts'
import { backupRecord, JOURNAL, originalFacts } from '../../support/journal.ts'
import { startTestDatabase } from '../../support/postgres.ts'
import { makeFolder, removeFolder } from '../../support/server.ts'

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
  await sql`truncate backups, files, ignored_files, library restart identity cascade`.execute(db)
})
afterEach(() => removeFolder(root))

/** A log of the library `FIRST` with these lines. */
async function writeLog(...lines: (JournalLine | string)[]): Promise<void> {
  const header: JournalLine = { type: 'header', format: 1, library: FIRST, kind: 'log', created: AT }
  const text = [header, ...lines].map((line) => (typeof line === 'string' ? `${line}\n` : formatLine(line))).join('')
  await mkdir(join(root, JOURNAL), { recursive: true })
  await writeFile(join(root, JOURNAL, '00000001-log.jsonl'), text)
}

const restore = (id: string, mirrorOf: string | null, signal = new AbortController().signal) =>
  restoreJournal(db, root, { id, mirrorOf }, { report: () => {}, signal })

const verified = { ...backupRecord(1), original: { ...originalFacts('2024/07/a.jpg', 1), verified_at: AT } }
const alone: JournalLine = { type: 'original', ...originalFacts('2024/07/b.jpg', 2), verified_at: AT }

async function verifiedAt(): Promise<unknown[]> {
  return (await sql<{ verified_at: Date | null }>`select verified_at from files order by path`.execute(db)).rows.map(
    (row) => row.verified_at?.toISOString() ?? null,
  )
}

it('what was read back on this drive counts', async () => {
  await writeLog(verified, alone)
  expect(await restore(FIRST, null)).toMatchObject({ hasJournal: true, backups: 1, originals: 2, damaged: 0 })
  expect(await verifiedAt()).toEqual([AT, AT])
})

it('what was read back on the drive that this one is a mirror of does not', async () => {
  await writeLog(verified, alone)
  expect(await restore(MIRROR, FIRST)).toMatchObject({ hasJournal: true, backups: 1, originals: 2 })
  expect(await verifiedAt()).toEqual([null, null])
})

it('lines that can’t be read and lines that can’t be believed are counted, and left out', async () => {
  await writeLog(verified, 'torn', { ...verified, id: 2, at: '2024-02-31T00:00:00.000Z' }, alone)
  expect(await restore(FIRST, null)).toMatchObject({ backups: 1, originals: 2, damaged: 2 })
})

it('without a journal the catalogue belongs to the library, and knows nothing', async () => {
  expect(await restore(FIRST, null)).toEqual({ hasJournal: false, damaged: 0, backups: 0, originals: 0, ignored: 0 })
  expect(await db.selectFrom('library').select('id').execute()).toEqual([{ id: FIRST }])
})

it('given up, it leaves nothing behind', async () => {
  await writeLog(verified)
  await expect(restore(FIRST, null, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough')
  expect(await db.selectFrom('library').select('id').execute()).toEqual([])
  expect(await verifiedAt()).toEqual([])
})
