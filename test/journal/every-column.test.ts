import { isDeepStrictEqual } from 'node:util'
import { sql } from 'kysely'
import { expect, it } from 'vitest'
import { createLibrary } from '../../src/archive/library.ts'
import { openDatabase } from '../../src/catalogue/connection.ts'
import { allRecords } from '../../src/catalogue/journal-rows.ts'
import { rememberLibrary } from '../../src/catalogue/library.ts'
import { lookIntoOutbox } from '../../src/catalogue/outbox.ts'
import type { JournalRecord } from '../../src/format/journal-record.ts'
import { JournalKeeper } from '../../src/journal/keeper.ts'
import { openJournal } from '../../src/storage/journal/reader.ts'
import { lostAndUnread } from '../../src/verify/lost-and-unread.ts'
import { openLibrary } from '../support/library.ts'
import { silentLog, startTestDatabase } from '../support/postgres.ts'
import { makeFolder } from '../support/server.ts'
import { until } from '../support/until.ts'

/** Another value of each type, as SQL; of columns that may not hold just anything, theirs. */
const OTHER_OF_TYPE: Readonly<Record<string, string>> = {
  text: `'another'`,
  uuid: 'gen_random_uuid()',
  bigint: '4711',
  smallint: '60',
  'double precision': '1.5',
  'timestamp with time zone': `'2001-02-03 04:05:06Z'`,
  boolean: 'true',
  bytea: `sha256('another')`,
}
const OTHER: Readonly<Record<string, string>> = {
  'backups.id': 'id + 1000000',
  'backups.status': `'Failed'`,
  'backups.file_path': `'2024/07/another'`,
  'files.path': `'2024/08/another'`,
  'ignored_files.id': 'id + 1000000',
}

/** What is said last about each thing, of originals also within the rows that hold them. */
class Words {
  readonly said = new Map<string, object>()

  add(record: JournalRecord): void {
    if (record.type === 'removed') {
      this.said.delete(`${record.what} ${record.what === 'original' ? record.path : record.id}`)
      return
    }
    const { type, ...facts } = record
    this.said.set(`${type} ${record.type === 'original' ? record.path : record.id}`, facts)
    if (record.type === 'backup' && record.original !== null) {
      this.said.set(`original ${record.original.path}`, record.original)
    }
  }
}

it('every column that the journal writes, changed by plain SQL, is on the drive soon, and so is what goes; others leave nothing', async () => {
  const root = await makeFolder()
  const db = openDatabase((await startTestDatabase()).connection, () => {})
  const { drive } = await openLibrary(root)
  await rememberLibrary(db, drive.id)
  const library = createLibrary(db, drive, { minFreeSpace: 0, timeZone: 'UTC', lostAndUnread, now: () => new Date() })

  const known = async () => {
    const words = new Words()
    for await (const page of allRecords(db)) for (const record of page) words.add(record)
    return words.said
  }
  /** The same from the drive, once the keeper has nothing left to write. */
  const written = async () => {
    const keeper = new JournalKeeper(library, { isBusy: () => false, log: silentLog })
    keeper.start()
    await until('all is written', async () => (await lookIntoOutbox(db)).newest === null)
    await keeper.close()
    const words = new Words()
    for await (const record of (await openJournal(root, [drive.id]))?.records ?? []) {
      // Of the line, not of what it says.
      words.add(
        Object.fromEntries(Object.entries(record).filter(([name]) => name !== 'crc')) as unknown as JournalRecord,
      )
    }
    return words.said
  }

  const { rows: columns } = await sql<{ table: string; name: string; type: string }>`
    select table_name as "table", column_name as name, data_type as type from information_schema.columns
    where (table_name in ('backups', 'files', 'ignored_files') or (table_name = 'copies' and column_name not in ('place', 'path'))) and table_schema = 'public' and is_generated = 'NEVER'
    order by 1, 2`.execute(db)
  expect(columns.length).toBeGreaterThan(35)

  // A row for each column, and for each row of `backups` its original.
  await sql`insert into files (path) values ('2024/07/another')`.execute(db)
  await sql`
    insert into files (path, checksum, size, stored_at)
    select '2024/07/' || n, sha256(n::text::bytea), n, now() from generate_series(1, ${2 * columns.length}::int) as n`.execute(
    db,
  )
  await sql`
    insert into backups (id, file_name, original_path, file_path, file_type, status, device_id)
    select n, 'n', 'p' || n, '2024/07/' || n, 'photo', 'Completed', 'd' from generate_series(1, ${columns.length}::int) as n`.execute(
    db,
  )
  await sql`
    insert into ignored_files (id, file_name, original_path, device_id)
    select n, 'n', 'p' || n, 'd' from generate_series(1, ${columns.length}::int) as n`.execute(db)
  // What is lost is wanted.
  await sql`update copies set wanted_since = now()`.execute(db)
  expect(await written()).toEqual(await known())

  const told: string[] = []
  const changed: string[] = []
  let newest = 0
  for (const [index, { table, name, type }] of columns.entries()) {
    const column = `${table}.${name}`
    const isOriginal = table === 'files' || table === 'copies'
    const row = isOriginal ? sql`path = ${`2024/07/${columns.length + index + 1}`}` : sql`id = ${index + 1}`
    const other = sql.raw(OTHER[column] ?? OTHER_OF_TYPE[type] ?? `unknown type ${type}`)
    const earlier = await known()
    await sql`update ${sql.table(table)} set ${sql.ref(name)} = ${other} where ${row}`.execute(db)
    if (!isDeepStrictEqual(await known(), earlier)) changed.push(column)
    const now = (await lookIntoOutbox(db)).newest ?? 0
    if (now > newest) told.push(column)
    newest = now
  }
  expect(told).toEqual(changed)
  expect(columns.map(({ table, name }) => `${table}.${name}`).filter((column) => !told.includes(column))).toEqual([
    'backups.is_identified',
    'copies.copied_at',
    'copies.lost_at',
    'copies.recheck',
    'copies.wanted_since',
    'files.own_date',
  ])
  expect(await written()).toEqual(await known())

  await sql`delete from backups where id % 2 = 0`.execute(db)
  await sql`delete from ignored_files where id % 2 = 0`.execute(db)
  await sql`
    delete from files where not exists (select from backups where backups.file_path = files.path collate "default")
  `.execute(db)
  expect(await written()).toEqual(await known())
})
