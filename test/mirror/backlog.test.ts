import { setTimeout } from 'node:timers/promises'
import pg from 'pg'
import { expect, it } from 'vitest'
import { openDatabase } from '../../src/catalogue/connection.ts'
import { BacklogCount } from '../../src/mirror/backlog.ts'
import { startTestDatabase } from '../support/postgres.ts'
import { until } from '../support/until.ts'

it('a count that took long is not taken for one of today: nothing is missing only when that is so', async () => {
  const database = await startTestDatabase()
  const db = openDatabase(database.connection, () => {})
  const holder = new pg.Client(database.connection)
  await holder.connect()
  try {
    const count = new BacklogCount(db, () => new Date())
    await holder.query('begin')
    await holder.query('lock table files')
    const first = count.get()
    await until('it is being counted', async () => {
      const { rowCount } = await holder.query('select from pg_locks where relation = $1::regclass and not granted', [
        'files',
      ])
      return rowCount === 1
    })
    // A busy machine is as slow.
    await setTimeout(200)
    await holder.query('commit')
    expect((await first).files).toBe(0)

    await holder.query(`insert into files (path, checksum, size, media_type, stored_at)
      values ('2024/07/a.jpg', sha256('x'), 5, 'image/jpeg', now())`)
    count.expire()
    expect((await count.get()).files).toBe(1)
  } finally {
    await holder.end()
    await db.destroy()
  }
})
