import { expect, it } from 'vitest'
import { jpeg } from '../support/media.ts'
import { get, upload } from '../support/phone.ts'
import { startEmptyDatabase } from '../support/postgres.ts'
import { execute } from '../support/run-postgres.ts'
import { makeFolder, startServer } from '../support/server.ts'
import { until } from '../support/wire.ts'

/** The note about the database's role, once it has been looked at. */
async function noteAt(url: string): Promise<{ message: string } | undefined> {
  const { body } = await until('its health is known', async () => {
    const answer = await get(url, '/library/health')
    return answer.status === 200 ? answer : undefined
  })
  return body.notes.find(({ key }: { key: string }) => key === 'database_superuser')
}

it('says in its log and its health that the role of DATABASE_URL is a superuser, and two lines mend it', async () => {
  const database = await startEmptyDatabase()
  const superuser = { ...database.connection, user: 'iclood' }
  const role = `all_mighty_${process.pid}`
  await execute(superuser, `create role "${role}" superuser login`)
  const folder = await makeFolder()
  const env = { DATABASE_URL: database.url.replace(/\/\/[^@]+@/, `//${role}@`) }

  const server = await startServer(folder, env)
  await upload(server.url, jpeg({ seed: 'first' }), { name: 'first.jpg' })
  const note = await noteAt(server.url)
  expect(note?.message).toContain(`The role ${role} of DATABASE_URL`)
  await until('the log says so', async () => server.output().includes('"problem":"database_superuser"'))
  await server.stop()

  const [, lines = ''] = / end that: (.*)$/.exec(note?.message ?? '') ?? []
  await execute(superuser, lines)
  const mended = await startServer(folder, env)
  expect((await upload(mended.url, jpeg({ seed: 'second' }), { name: 'second.jpg' })).status).toBe(201)
  expect(await noteAt(mended.url)).toBeUndefined()
  await mended.stop()
  await database.drop()
  await execute({ ...superuser, database: 'postgres' }, `drop role "${role}"`)
})

it('names a role of its own where the superuser is the one that PostgreSQL was made with', async () => {
  const database = await startEmptyDatabase()
  const superuser = { ...database.connection, user: 'iclood' }
  const folder = await makeFolder()
  const urlAs = (role: string) => ({ DATABASE_URL: database.url.replace(/\/\/[^@]+@/, `//${role}@`) })
  const server = await startServer(folder, urlAs('iclood'))
  await upload(server.url, jpeg({ seed: 'first' }), { name: 'first.jpg' })
  const note = await noteAt(server.url)
  await server.stop()

  const [, lines = ''] = / end that: (.*;) Then name/.exec(note?.message ?? '') ?? []
  await execute(superuser, lines)
  const mended = await startServer(folder, urlAs('iclood_catalogue'))
  expect((await upload(mended.url, jpeg({ seed: 'second' }), { name: 'second.jpg' })).status).toBe(201)
  expect(await noteAt(mended.url)).toBeUndefined()
  await mended.stop()
  await database.drop()
  await execute({ ...superuser, database: 'postgres' }, 'drop role iclood_catalogue')
})
