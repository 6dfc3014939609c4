import { Migrator, sql } from 'kysely'
import { beforeEach, describe, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { recordFindings } from '../../src/catalogue/findings.ts'
import { beginRun, endRun, rememberLibrary } from '../../src/catalogue/library.ts'
import {
  isAllSummed,
  listDoubtfulSums,
  listNews,
  lookIntoOutbox,
  settleNews,
  tellAsSnapshot,
} from '../../src/catalogue/outbox.ts'
import { MIGRATIONS } from '../../src/migrations/migrate.ts'
import { endsWithTest } from '../support/ends.ts'
import { startEmptyDatabase, startTestDatabase, type TestDatabase } from '../support/postgres.ts'

const LIBRARY = '5f3a1c1e-0000-4000-8000-000000000001'

function open(database: TestDatabase): Database {
  const db = openDatabase(database.connection, () => {})
  endsWithTest(() => db.destroy())
  return db
}

const inOutbox = async (db: Database) =>
  (await db.selectFrom('outbox').select(['what', 'key']).orderBy('seq').execute()).map(
    ({ what, key }) => `${what} ${key}`,
  )

describe('the outbox', () => {
  let db: Database
  beforeEach(async () => {
    db = open(await startTestDatabase())
  })

  it('gets nothing from what is announced, however much that is, nor from its change and its end', async () => {
    await sql`
      insert into backups (file_name, original_path, file_type, status, asset_id)
      select 'n', 'p' || n, 'photo', 'Pending', n::text from generate_series(1, 10000) as n`.execute(db)
    await sql`update backups set created = 1, timestamp = now(), announced_from = '::1'`.execute(db)
    await sql`delete from backups where id % 2 = 0`.execute(db)
    expect(await inOutbox(db)).toEqual([])
    await sql`update backups set status = 'Failed', failure = 'because' where id = 1`.execute(db)
    expect(await inOutbox(db)).toEqual(['backup 1'])
  })

  it('gets each row once for a statement, and of a path that has become another both', async () => {
    await sql`insert into files (path) values ('2024/07/a'), ('2024/07/b')`.execute(db)
    await sql`update files set path = '2024/08/a', size = 1 where path = '2024/07/a'`.execute(db)
    await sql`delete from files where path = '2024/07/b'`.execute(db)
    const found = await inOutbox(db)
    expect(found.slice(0, 2).sort()).toEqual(['original 2024/07/a', 'original 2024/07/b'])
    expect(found.slice(2, 4).sort()).toEqual(['original 2024/07/a', 'original 2024/08/a'])
    expect(found.slice(4)).toEqual(['original 2024/07/b'])
  })

  it('gets no more than facts of an original whose content is as it was, as when it has been read back', async () => {
    await sql`insert into files (path, checksum) values ('2024/07/a', sha256('a')), ('2024/07/b', null)`.execute(db)
    await sql`delete from outbox`.execute(db)
    await sql`update copies set verified_at = now() where place = 0`.execute(db)
    expect((await inOutbox(db)).sort()).toEqual(['facts 2024/07/a', 'facts 2024/07/b'])
    expect(await isAllSummed(db)).toBe(true)
    await sql`update files set checksum = sha256('b')`.execute(db)
    expect((await inOutbox(db)).slice(2).sort()).toEqual(['original 2024/07/a', 'original 2024/07/b'])
    expect(await isAllSummed(db)).toBe(false)
  })

  it('has nothing of a change that was rolled back', async () => {
    const changing = db.transaction().execute(async (transaction) => {
      await sql`insert into files (path) values ('2024/07/a')`.execute(transaction)
      throw new Error('no')
    })
    await expect(changing).rejects.toThrow('no')
    expect(await inOutbox(db)).toEqual([])
  })

  it('is told of a SHA256SUMS of the library that was found wrong, each time that it is', async () => {
    const finding = { place: 0, kind: 'sums', path: '2024/07/SHA256SUMS', expected: null, found: null } as const
    await recordFindings(db, [finding, { ...finding, place: 1 }, { ...finding, kind: 'unknown' }], new Date())
    await recordFindings(db, [finding], new Date())
    expect(await inOutbox(db)).toEqual(['sums 2024/07', 'sums 2024/07'])
  })

  it('is told of a large set as a snapshot and its months’ sums, within that transaction alone', async () => {
    await db.transaction().execute(async (transaction) => {
      await tellAsSnapshot(transaction)
      await sql`insert into files (path) values ('2024/07/a'), ('2024/08/b'), ('elsewhere/c')`.execute(transaction)
      await sql`update files set size = null`.execute(transaction)
    })
    expect((await inOutbox(db)).sort()).toEqual(['snapshot ', 'sums 2024/07', 'sums 2024/08'])
    await sql`insert into files (path) values ('2024/07/d')`.execute(db)
    expect((await inOutbox(db)).at(-1)).toBe('original 2024/07/d')
  })

  it('is read in portions and in order, each thing once, and only what was read is taken out', async () => {
    expect(await lookIntoOutbox(db)).toEqual({ newest: null, snapshot: [] })
    await sql`
      insert into outbox (what, key) values
        ('backup', '5000000000'), ('facts', '2024/07/b c'), ('snapshot', ''), ('backup', '5000000000'), ('ignored', '3'),
        ('sums', '2024/07'), ('ignored', '4'), ('sums', '2024/08'), ('sums', '2024/07'), ('backup', '9')`.execute(db)
    expect(await lookIntoOutbox(db)).toEqual({ newest: 10, snapshot: [3] })
    const none = { backups: [], originals: [], ignored: [] }
    const first = { ...none, seqs: [1, 2, 4], backups: [5_000_000_000], originals: ['2024/07/b c'] }
    expect(await listNews(db, 0, 9, 3)).toEqual(first)
    expect(await listNews(db, 4, 9, 3)).toEqual({ ...none, seqs: [5, 7], ignored: [3, 4] })
    expect(await listNews(db, 7, 9, 3)).toBeUndefined()
    await settleNews(db, first.seqs, ['2024/05'])
    expect(await listDoubtfulSums(db, 0, 11, 2)).toEqual([
      { folder: '2024/08', seqs: [8] },
      { folder: '2024/07', seqs: [6, 9] },
    ])
    expect(await listDoubtfulSums(db, 9, 11, 2)).toEqual([{ folder: '2024/05', seqs: [11] }])
    expect(await inOutbox(db)).toHaveLength(8)
  })
})

describe('whether the last server ended cleanly', () => {
  it('is remembered by its stop until the next start', async () => {
    const db = open(await startTestDatabase())
    expect(await beginRun(db)).toBe(false)
    await rememberLibrary(db, LIBRARY)
    expect(await beginRun(db)).toBe(false)
    await endRun(db)
    expect(await beginRun(db)).toBe(true)
    expect(await beginRun(db)).toBe(false)
  })
})

describe('a database of the version before', () => {
  async function migrated(fill: (db: Database) => Promise<unknown>): Promise<Database> {
    const db = open(await startEmptyDatabase())
    const migrator = new Migrator({ db, provider: { getMigrations: async () => MIGRATIONS } })
    expect((await migrator.migrateTo('0013-wrong-sums')).error).toBeUndefined()
    await sql`insert into library (id) values (${LIBRARY})`.execute(db)
    await sql`insert into files (path) values ('2024/07/a'), ('2024/07/b'), ('2023/12/c'), ('elsewhere/d')`.execute(db)
    await fill(db)
    expect((await migrator.migrateToLatest()).error).toBeUndefined()
    return db
  }

  it('keeps what commands have left for its server, and that this ended cleanly', async () => {
    const db = await migrated(async (old) => {
      await sql`insert into unwritten values ('backup', '7'), ('sums', '2024/07')`.execute(old)
      await sql`update library set journal_complete = true`.execute(old)
    })
    expect((await inOutbox(db)).sort()).toEqual(['backup 7', 'sums 2024/07'])
    expect(await beginRun(db)).toBe(true)
  })

  it('is owed a snapshot and the sums of all months if its server was killed', async () => {
    const db = await migrated(async () => {})
    expect((await inOutbox(db)).sort()).toEqual(['snapshot ', 'sums 2023/12', 'sums 2024/07'])
    expect(await beginRun(db)).toBe(false)
  })
})
