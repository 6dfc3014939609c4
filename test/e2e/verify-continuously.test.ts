import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { jpeg } from '../support/media.ts'
import { post, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { withWrongSum, writeUnseen } from '../support/unseen.ts'
import { until } from '../support/until.ts'

let database: TestDatabase
let folder: string
let server: TestServer

beforeEach(async () => {
  database = await startTestDatabase()
  folder = await makeFolder()
})
afterEach(async () => {
  await server.stop()
  await database.drop()
  await removeFolder(folder)
})

async function start(every: string): Promise<void> {
  server = await startServer(folder, { DATABASE_URL: database.url, VERIFY_EVERY: every })
}

async function query(text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(database.connection)
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(text)).rows
  } finally {
    await client.end()
  }
}

const photo = (name: string) => jpeg({ date: '2024:07:01 12:00:00', seed: name, size: 4000 })
const place = (path: string) => join(server.library, path)

async function send(name: string): Promise<string> {
  const { status, body } = await upload(server.url, photo(name), { name, fields: { original_path: name } })
  expect(status).toBe(201)
  return body.backup.file_path
}

async function asked(...names: string[]): Promise<string[]> {
  const { body } = await post(server.url, '/photos/new', { files: names.map((path) => ({ path })) })
  return body.new_files.map((file: { path: string }) => file.path)
}

const verified = async () =>
  (await query('select path from originals where verified_at is not null order by path')).length

it('rot is found by itself, the phone is asked, and what can be put back is put back', async () => {
  await start('2s')
  const paths = []
  for (const name of ['rot.jpg', 'gone.jpg', 'moved.jpg', 'one.jpg', 'two.jpg', 'fine.jpg'])
    paths.push(await send(name))
  await writeFile(place('2024/07/rot.jpg'), Buffer.alloc(4000))
  await rm(place('2024/07/gone.jpg'))
  await mkdir(place('2024/08'))
  await rename(place('2024/07/moved.jpg'), place('2024/08/IMG.jpg'))
  await rename(place('2024/07/one.jpg'), place('2024/07/.swap'))
  await rename(place('2024/07/two.jpg'), place('2024/07/one.jpg'))
  await rename(place('2024/07/.swap'), place('2024/07/two.jpg'))

  const names = paths.map((path) => path.slice('2024/07/'.length))
  for (const name of ['one.jpg', 'two.jpg', 'fine.jpg', 'moved.jpg']) {
    await until(`${name} is in its place`, async () => {
      return (await readFile(place(`2024/07/${name}`)).catch(() => undefined))?.equals(photo(name))
    })
  }
  await until('the phone is asked', async () => (await asked(...names)).join() === 'rot.jpg,gone.jpg')
  expect(server.output()).toContain('a photo is not on the drive as it was stored')

  for (const name of ['rot.jpg', 'gone.jpg']) expect(await send(name)).toBe(`2024/07/${name}`)
  expect(await asked(...names)).toEqual([])
  await until('all are read back', async () => (await verified()) === names.length)
  const open = await query(`select kind, path from findings where healed_at is null and kind <> 'unknown'`)
  expect(open).toEqual([])
})

it('everything is read again and again, across restarts', async () => {
  await start('3s')
  for (const name of ['a.jpg', 'b.jpg', 'c.jpg']) await send(name)
  await until('all are read back', async () => (await verified()) === 3)
  const [first] = await query('select max(verified_at) as at from originals')
  await server.stop()
  await start('3s')
  await until('all are read once more', async () => {
    const rows = await query('select min(verified_at) as at from originals')
    return Number(rows[0]?.['at']) > Number(first?.['at'])
  })
})

it('after a kill what was stored last is read back at the next start; after a clean stop nothing is', async () => {
  await start('30d')
  for (const name of ['a.jpg', 'b.jpg']) await send(name)
  await send('marked.jpg')
  await server.stop()
  await query(`update copies set recheck = true where place = 0 and path like '%marked.jpg'`)
  await start('30d')
  await until('what is marked is read back', async () => (await verified()) > 0)
  expect(await verified()).toBe(1)
  await server.kill()
  await start('30d')
  await until('the others are read back, too', async () => (await verified()) === 3)
})

it('a drive that was away has what was stored before it went read back', async () => {
  await start('30d')
  for (const name of ['a.jpg', 'b.jpg']) await send(name)
  await rename(server.library, `${server.library}.away`)
  await mkdir(server.library)
  const refused = await upload(server.url, photo('refused'), { name: 'refused.jpg' })
  expect(refused.status).toBe(503)
  expect(await verified()).toBe(0)
  await rm(server.library, { recursive: true })
  await rename(`${server.library}.away`, server.library)
  await until('they are read back', async () => (await verified()) === 2)
})

it('a SHA256SUMS that has changed is put right, though its size and time are as they were', async () => {
  await start('4s')
  await send('a.jpg')
  const sums = place('2024/07/SHA256SUMS')
  const right = await until('the photo is listed', async () => readFile(sums, 'utf8').catch(() => undefined))
  await writeUnseen(sums, withWrongSum(right))
  await until(
    'it is right again',
    async () => (await readFile(sums, 'utf8')) === right,
    () => `${right} ${server.output()}`,
  )
})
