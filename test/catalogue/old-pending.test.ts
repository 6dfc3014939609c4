import { sql } from 'kysely'
import { expect, it } from 'vitest'
import { openDatabase } from '../../src/catalogue/connection.ts'
import { migrate } from '../../src/migrations/migrate.ts'
import { FLASK_TABLES } from '../support/flask.ts'
import { startEmptyDatabase } from '../support/postgres.ts'

it('a file whose upload an older server has begun several times and never ended waits once', async () => {
  const database = await startEmptyDatabase()
  const db = openDatabase({ connectionString: database.url }, () => {})
  try {
    for (const statement of FLASK_TABLES.split(';')) {
      if (statement.trim() !== '') await sql.raw(statement).execute(db)
    }
    await sql`
      insert into backups (file_name, file_path, original_path, file_size, file_type, device_id, status) values
        ('1.JPG', '2023/05/1.JPG', '/DCIM/1.JPG', 0, 'photo', 'iPhone 12', 'Pending'),
        ('1.JPG', '2023/05/1.JPG', '/DCIM/1.JPG', 0, 'photo', 'iPhone 12', 'Pending'),
        ('1.JPG', '2023/05/1.JPG', '/DCIM/1.JPG', 10, 'photo', 'iPhone 12', 'Completed'),
        ('1.JPG', '2023/05/1.JPG', '/DCIM/1.JPG', 0, 'photo', 'iPhone 13', 'Pending'),
        ('2.JPG', '2023/05/2.JPG', null, 0, 'photo', null, 'Pending'),
        ('3.JPG', '2023/05/3.JPG', null, 0, 'photo', null, 'Pending')`.execute(db)
    await migrate(db)
    const { rows } = await sql<{ id: string; status: string }>`select id, status from backups order by id`.execute(db)
    expect(rows.map(({ id, status }) => [Number(id), status])).toEqual([
      [2, 'Pending'],
      [3, 'Completed'],
      [4, 'Pending'],
      [6, 'Pending'],
    ])
  } finally {
    await db.destroy()
    await database.drop()
  }
})
