import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { startTestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { EMBEDDED } from '../support/surroundings.ts'

const servers: TestServer[] = []
const folders: string[] = []

afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop()
  for (const folder of folders.splice(0)) await removeFolder(folder)
})

async function newFolder(): Promise<string> {
  const folder = await makeFolder()
  folders.push(folder)
  return folder
}

it('a second server on one DATA_DIR under another path says so and ends, and the first is unharmed', async () => {
  const folder = await newFolder()
  const first = await startServer(folder, EMBEDDED)
  servers.push(first)
  const other = await newFolder()
  await symlink(join(folder, 'data'), join(other, 'alias'))
  const start = startServer(other, {
    ...EMBEDDED,
    DATA_DIR: join(other, 'alias'),
    UPLOAD_FOLDER: join(other, 'photos'),
  })
  await expect(start).rejects.toThrow(/Another iClood server, or one of its commands, is already using the data folder/)
  expect((await fetch(`${first.url}/backup/log`)).status).toBe(200)
})

it('a DATABASE_URL in the form of a socket’s address is taken, and named without its user', async () => {
  const database = await startTestDatabase()
  const { host, port, user, database: name } = database.connection
  const url = `postgresql+psycopg2://${user}@/${name}?host=${encodeURIComponent(host)}&port=${port}`
  const server = await startServer(await newFolder(), { DATABASE_URL: url })
  expect((await fetch(`${server.url}/backup/log`)).status).toBe(200)
  expect(server.output()).toContain(`"database":"${name} on `)
  await server.stop()
  await database.drop()
})
