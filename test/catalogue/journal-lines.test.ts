import { sql } from 'kysely'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { allRecords } from '../../src/catalogue/journal-rows.ts'
import { formatLine, parseLine } from '../../src/format/journal-line.ts'
import { migrate } from '../../src/migrations/migrate.ts'
import { startTestDatabase } from '../support/postgres.ts'

const WRITTEN = String.raw`{"type":"backup","id":1,"device":"d","phone_path":"p","asset_id":"a","name":"n","kind":"photo","status":"Completed","failure":null,"at":"2024-07-01T10:00:00.500Z","created":0.25,"modified":1.5,"announced_size":8,"announced_from":"::1","sent_from":"::2","size":7,"media_type":"image/png","original":{"path":"2024/07/a.jpg","sha256":"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb","size":1,"media_type":"image/jpeg","captured_at":"2024-07-01T10:00:00.123Z","captured_offset":-90,"content_id":"C","stored_at":"2024-07-01T10:00:01.000Z","verified_at":null},"crc":"47d40df1"}
{"type":"backup","id":2,"device":null,"phone_path":"q","asset_id":null,"name":"n","kind":"video","status":"Failed","failure":"because","at":null,"created":null,"modified":null,"announced_size":null,"announced_from":null,"sent_from":null,"size":null,"media_type":null,"original":null,"crc":"e5c21a41"}
{"type":"ignored","id":3,"device":"d","phone_path":"p","asset_id":null,"name":"n","at":"2024-07-01T12:00:00.000Z","created":0.5,"announced_size":9,"ignored_from":"::3","crc":"b924a9b9"}
{"type":"original","path":"2024/07/\"é\".jpg","sha256":null,"size":null,"media_type":null,"captured_at":null,"captured_offset":null,"stored_at":null,"verified_at":"2024-07-02T10:00:00.000Z","crc":"ea9392eb"}
{"type":"removed","what":"original","path":"2024/07/b.jpg","crc":"950b046b"}
{"type":"removed","what":"ignored","id":4,"crc":"0edbe81d"}
`

/* What stands on a household's drive stays readable by what was written for it: format 1, byte for byte. */

let db: Database
beforeAll(async () => {
  const database = await startTestDatabase()
  db = openDatabase(database.connection, () => {})
  await migrate(db)
  await sql`
    insert into files (path, checksum, size, media_type, captured_at, captured_offset, content_id, stored_at)
    values
      ('2024/07/a.jpg', sha256('a'), 1, 'image/jpeg', '2024-07-01 10:00:00.1239Z', -90, 'C', '2024-07-01 10:00:01Z'),
      ('2024/07/"é".jpg', null, null, null, null, null, null, null)`.execute(db)
  await sql`update copies set verified_at = '2024-07-02 10:00:00Z' where path like '%é%'`.execute(db)
  await sql`
    insert into backups (
      id, file_name, file_path, original_path, file_size, file_type, mime_type, device_id, timestamp, status, asset_id,
      created, modified, announced_size, announced_from, sent_from, failure
    ) values
      (1, 'n', '2024/07/a.jpg', 'p', 7, 'photo', 'image/png', 'd', '2024-07-01 12:00:00.5+02', 'Completed', 'a',
        0.25, 1.5, 8, '::1', '::2', null),
      (2, 'n', null, 'q', null, 'video', null, null, null, 'Failed', null, null, null, null, null, null, 'because')
    `.execute(db)
  await sql`
    insert into ignored_files (id, file_name, original_path, device_id, asset_id, timestamp, created, announced_size, ignored_from)
    values (3, 'n', 'p', 'd', null, '2024-07-01 12:00:00Z', 0.5, 9, '::3')`.execute(db)
})
afterAll(() => db.destroy())

it('the lines of the journal are written byte for byte as before, and read as they were meant', async () => {
  const lines: string[] = []
  for await (const records of allRecords(db)) {
    for (const record of records) {
      const line = formatLine(record)
      lines.push(line)
      expect(parseLine(Buffer.from(line.slice(0, -1)))).toEqual({ ...record, crc: line.slice(-11, -3) })
    }
  }
  lines.push(formatLine({ type: 'removed', what: 'original', path: '2024/07/b.jpg' }))
  lines.push(formatLine({ type: 'removed', what: 'ignored', id: 4 }))
  expect(lines.join('')).toBe(WRITTEN)
})
