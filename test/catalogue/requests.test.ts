import { sql } from 'kysely'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { openRequests, type Requests } from '../../src/catalogue/requests.ts'
import { startTestDatabase } from '../support/postgres.ts'
import { until } from '../support/until.ts'

let db: Database
let requests: Requests
beforeAll(async () => {
  const { url } = await startTestDatabase()
  db = openDatabase({ connectionString: url }, () => {})
  requests = openRequests({ connectionString: url }, () => {}, db)
})
afterAll(async () => {
  await requests.destroy()
  await db.destroy()
})

const never = new AbortController().signal
const setting = async (of: Database, name: string) => {
  const { rows } = await sql<{ value: string }>`select current_setting(${name}) as value`.execute(of)
  return rows[0]?.value
}

it('every statement has a bound, those of requests tighter ones', async () => {
  expect(await setting(db, 'statement_timeout')).toBe('45s')
  expect(await setting(requests.for(never), 'statement_timeout')).toBe('30s')
  expect(await setting(requests.for(never), 'temp_file_limit')).toBe('128MB')
  expect(await setting(requests.for(never), 'work_mem')).toBe('16MB')
  expect(await setting(db, 'client_connection_check_interval')).toBe('5s')
})

it.each([
  ['time', sql`set statement_timeout = 20`, sql`select pg_sleep(60)`],
  [
    'room on the disk',
    sql`set temp_file_limit = '1MB'; set work_mem = '64kB'`,
    sql`select n from generate_series(1, 300000) as n order by md5(n::text)`,
  ],
])(
  'what takes more %s than it may have is refused as busy, and the connection goes on',
  async (_, limit, statement) => {
    await requests
      .for(never)
      .connection()
      .execute(async (connection) => {
        await limit.execute(connection)
        await expect(statement.execute(connection)).rejects.toMatchObject({ code: 'busy' })
        await sql`reset all`.execute(connection)
        expect((await sql`select 1 as one`.execute(connection)).rows).toEqual([{ one: 1 }])
      })
  },
)

it('a request that has gone has its query cancelled, its transaction undone, and asks nothing any more', async () => {
  const gone = new AbortController()
  const asking = requests.for(gone.signal)
  const work = asking.transaction().execute(async (transaction) => {
    await sql`insert into ignored_files (file_name, original_path) values ('a', 'a')`.execute(transaction)
    await sql`select pg_sleep(60)`.execute(transaction)
  })
  const failed = expect(work).rejects.toMatchObject({ code: 'upload_incomplete' })
  const running = async () =>
    (
      await sql`select from pg_stat_activity where state = 'active' and query like '%pg_sleep(60)%' and datname = current_database()
      and pid <> pg_backend_pid()`.execute(db)
    ).rows.length
  await until('the query runs', async () => (await running()) === 1)
  gone.abort()
  await failed
  await until('the query has ended', async () => (await running()) === 0)
  expect((await db.selectFrom('ignored_files').selectAll().execute()).length).toBe(0)
  await expect(sql`select 1`.execute(asking)).rejects.toMatchObject({ code: 'upload_incomplete' })
  expect((await sql`select 1 as one`.execute(requests.for(never))).rows).toEqual([{ one: 1 }])
})
