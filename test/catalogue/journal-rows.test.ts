import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import {
  allRecords,
  backupRecords,
  checksumsIn,
  ignoredRecords,
  originalRecords,
} from '../../src/catalogue/journal-rows.ts'
import type { JournalRecord } from '../../src/format/journal-record.ts'
import { migrate } from '../../src/migrations/migrate.ts'
import { startTestDatabase } from '../support/postgres.ts'

/** More than two pages of each. */
const COUNT = 1_100

let db: Database
beforeAll(async () => {
  const database = await startTestDatabase()
  db = openDatabase(database.connection, () => {})
  await migrate(db)
  await sql`
    insert into files (path, checksum, size, media_type, captured_at, captured_offset, content_id, stored_at)
    select '2024/07/' || number, sha256(number::text::bytea), number, 'image/jpeg', '2024-07-01 10:00:00.1239Z', 120, 'E905E6C6-C747-4805-942F-9904A0281F02',
      '2024-07-01 10:00:01Z'
    from generate_series(1, ${COUNT}::int) as number`.execute(db)
  await sql`update copies set verified_at = '2024-07-02 10:00:00Z'`.execute(db)
  await sql`
    insert into files (path) select '2023/12/alone ' || number from generate_series(1, ${COUNT}::int) as number
  `.execute(db)
  await sql`insert into files (path) values ('2023/12/announced'), ('x/2024/07/not a month'), ('1999')`.execute(db)
  await sql`
    insert into backups (
      id, file_name, file_path, original_path, file_size, file_type, mime_type, device_id, timestamp, status, asset_id, created,
      modified, announced_size, announced_from, failure
    )
    select number, 'n', '2024/07/' || number, 'p', 7, 'photo', 'image/png', 'd', '2024-07-01 12:00:00.5+02', 'Completed', 'a',
      0.25, 1.5, 8, '::1', null
    from generate_series(1, ${COUNT}::int) as number`.execute(db)
  await sql`
    insert into backups (id, file_name, original_path, file_path, file_type, status, failure) values
      (2001, 'failed', 'q1', null, 'video', 'Failed', 'because'), (2002, 'pending', 'q2', null, 'photo', 'Pending', null),
      (2003, 'announced', 'q3', '2023/12/announced', 'photo', 'Pending', null)`.execute(db)
  await sql`
    insert into ignored_files (id, file_name, original_path, device_id, asset_id)
    select number, 'n', 'p' || number, null, null from generate_series(1, ${COUNT}::int) as number`.execute(db)
})
afterAll(() => db.destroy())

const FACTS = {
  sha256: '6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b',
  size: 1,
  media_type: 'image/jpeg',
  captured_at: '2024-07-01T10:00:00.123Z',
  captured_offset: 120,
  content_id: 'E905E6C6-C747-4805-942F-9904A0281F02',
  stored_at: '2024-07-01T10:00:01.000Z',
  verified_at: '2024-07-02T10:00:00.000Z',
}

const UNREAD = {
  sha256: null,
  size: null,
  media_type: null,
  captured_at: null,
  captured_offset: null,
  stored_at: null,
  verified_at: null,
}

describe('the rows that the journal tells of', () => {
  it('are given with every member, times in milliseconds', async () => {
    expect(await backupRecords(db, [1])).toEqual([
      {
        type: 'backup',
        id: 1,
        device: 'd',
        phone_path: 'p',
        asset_id: 'a',
        name: 'n',
        kind: 'photo',
        status: 'Completed',
        failure: null,
        at: '2024-07-01T10:00:00.500Z',
        created: 0.25,
        modified: 1.5,
        announced_size: 8,
        announced_from: '::1',
        sent_from: null,
        size: 7,
        media_type: 'image/png',
        original: { path: '2024/07/1', ...FACTS },
      },
    ])
    expect(await originalRecords(db, ['2024/07/1', '1999', 'none'])).toEqual(
      expect.arrayContaining([
        { type: 'original', path: '2024/07/1', ...FACTS },
        { type: 'original', path: '1999', ...UNREAD },
      ]),
    )
    expect(await ignoredRecords(db, [5, 5000])).toEqual([
      {
        type: 'ignored',
        id: 5,
        device: null,
        phone_path: 'p5',
        asset_id: null,
        name: 'n',
        at: null,
        created: null,
        announced_size: null,
        ignored_from: null,
      },
    ])
  })

  it('do not include what was only announced, nor what is not there', async () => {
    const found = await backupRecords(db, [2001, 2002, 2003, 9999])
    expect(found.map(({ id }) => id)).toEqual([2001])
    expect(found[0]).toMatchObject({ status: 'Failed', failure: 'because', original: null, at: null })
  })

  it('are all given page by page, each once, and originals alone where no asset tells of them', async () => {
    const all: JournalRecord[] = []
    for await (const page of allRecords(db)) {
      expect(page.length).toBeGreaterThan(0)
      expect(page.length).toBeLessThanOrEqual(500)
      all.push(...page)
    }
    const keys = all.map((record) => `${record.type} ${'id' in record ? record.id : record.path}`)
    const numbers = Array.from({ length: COUNT }, (_, index) => index + 1)
    expect(keys.toSorted()).toEqual(
      [
        ...numbers.map((number) => `backup ${number}`),
        'backup 2001',
        ...numbers.map((number) => `ignored ${number}`),
        ...numbers.map((number) => `original 2023/12/alone ${number}`),
        'original 2023/12/announced',
        'original x/2024/07/not a month',
        'original 1999',
      ].toSorted(),
    )
  })

  it('are listed by folder for the SHA256SUMS', async () => {
    const sums = await checksumsIn(db, '2024/07')
    expect(sums.size).toBe(COUNT)
    expect(sums.get('1')).toBe(FACTS.sha256)
    expect((await checksumsIn(db, '2023/12')).get('announced')).toBeNull()
    expect((await checksumsIn(db, '2022/01')).size).toBe(0)
  })
})
