import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { listDevices } from '../../src/catalogue/devices.ts'
import { startTestDatabase } from '../support/postgres.ts'

let db: Database

beforeAll(async () => {
  const { url } = await startTestDatabase()
  db = openDatabase({ connectionString: url }, () => {})
  // A phone of the house, and 3,000 names that somebody has made up since, each with a newer photo.
  await sql`
    insert into backups (device_id, file_name, file_type, timestamp, status)
    select 'iPhone', 'x', 'photo', now() - number * interval '1 day', 'Completed' from generate_series(9, 30) as number
  `.execute(db)
  await sql`
    insert into backups (device_id, file_name, file_type, timestamp, status)
    select 'made up ' || number, 'x', 'photo', now() - number * interval '1 second', 'Completed'
    from generate_series(1, 3000) as number, generate_series(1, 2)
  `.execute(db)
})

afterAll(() => db.destroy())

const names = async (limit: number, kept: readonly string[] = []) => {
  return (await listDevices(db, limit, new Date(), kept)).map(({ deviceId }) => deviceId)
}

describe('of thousands of devices', () => {
  it('the phone of the house comes first, however many are newer', async () => {
    expect((await names(10))[0]).toBe('iPhone')
    expect(await names(10)).toHaveLength(10)
  })

  it('those that are asked for are there, wherever they stand, once', async () => {
    const kept = ['made up 2999', 'iPhone', 'nobody']
    const listed = await names(10, kept)
    expect(listed).toContain('made up 2999')
    expect(listed).toHaveLength(11)
    expect(listed.filter((name) => name === 'iPhone')).toHaveLength(1)
  })
})
