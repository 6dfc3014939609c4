import { sql } from 'kysely'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { listFolder, listFolders } from '../../src/catalogue/folders.ts'
import { migrate } from '../../src/migrations/migrate.ts'
import { startTestDatabase } from '../support/postgres.ts'

const PATHS = [
  'a.jpg',
  '2024/07/a.jpg',
  '2024/07/sub/b.jpg',
  '2024/070/c.jpg',
  '2024/08/d.jpg',
  '😀😀/é/f.jpg',
  '😀😀/e.jpg',
]

let db: Database
beforeAll(async () => {
  const database = await startTestDatabase()
  db = openDatabase(database.connection, () => {})
  await migrate(db)
  await sql`insert into files (path) select unnest(${PATHS}::text[])`.execute(db)
})
afterAll(() => db.destroy())

const namesIn = async (folder: string, options?: { isDirect: boolean }) =>
  (await listFolder(db, folder, options)).map(({ name }) => name)

it('a folder has what lies in it and below it, under names from there', async () => {
  expect(await namesIn('2024/07')).toEqual(['a.jpg', 'sub/b.jpg'])
  expect(await namesIn('😀😀')).toEqual(['e.jpg', 'é/f.jpg'])
  expect(await namesIn('2024/09')).toEqual([])
  expect((await namesIn('')).sort()).toEqual([...PATHS].sort())
})

it('what lies directly in the folders is everything, each once', async () => {
  const direct: string[] = []
  for (const folder of await listFolders(db)) {
    direct.push(...(await listFolder(db, folder, { isDirect: true })).map(({ path }) => path))
  }
  expect(direct.sort()).toEqual([...PATHS].sort())
  expect(await namesIn('😀😀', { isDirect: true })).toEqual(['e.jpg'])
  expect(await namesIn('', { isDirect: true })).toEqual(['a.jpg'])
})
