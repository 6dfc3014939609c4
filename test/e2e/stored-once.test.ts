import { join } from 'node:path'
import pg from 'pg'
import { expect, it } from 'vitest'
import { originalsIn } from '../support/drives.ts'
import { jpeg } from '../support/media.ts'
import { upload } from '../support/phone.ts'
import { startTestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder, startServer } from '../support/server.ts'

it('what the database went away from is stored once, though the server was stopped in peace before it could adopt it', async () => {
  const folder = await makeFolder()
  const database = await startTestDatabase()
  const client = new pg.Client(database.connection)
  await client.connect()
  const settings = { UPLOAD_FOLDER: join(folder, 'drive'), DATABASE_URL: database.url }
  let server = await startServer(folder, settings)
  try {
    // Only the phone says when it was taken, and it says something else each time.
    const bytes = jpeg({ noExif: true, size: 20_000, seed: 'stopped' })
    const send = (created: number) => upload(server.url, bytes, { fields: { created: String(created) } })
    await client.query(`
      create function away() returns trigger language plpgsql as $$ begin raise exception 'away' using errcode = '57P01'; end $$;
      create trigger away before insert on files execute function away()`)
    expect(await send(Date.UTC(2024, 6, 1, 10))).toMatchObject({ status: 503 })
    await client.query('drop function away cascade')
    expect(await server.stop()).toBe(0)

    server = await startServer(folder, settings)
    expect(await send(Date.UTC(2024, 7, 1, 10))).toMatchObject({ status: 200 })
    expect(await originalsIn(server.library)).toEqual(['2024/07/IMG_0001.HEIC'])
  } finally {
    await server.stop()
    await client.end()
    await database.drop()
    await removeFolder(folder)
  }
})
