import { createHash } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { HashThread } from '../../src/storage/hashing/hash-thread.ts'
import { stagedIn } from '../support/drives.ts'
import { type InProcessServer, startInProcess } from '../support/in-process.ts'
import { jpeg } from '../support/media.ts'
import { upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { RawConnection, rawUpload, uploadHead } from '../support/raw-http.ts'
import { makeFolder, removeFolder } from '../support/server.ts'
import { until } from '../support/wire.ts'

let root: string
let database: TestDatabase
let server: InProcessServer
const hasher = new HashThread()
beforeAll(async () => {
  root = await makeFolder()
  database = await startTestDatabase()
  server = await startInProcess(root, database, { hasher })
})
afterAll(async () => {
  await server.stop()
  await hasher.close()
  await database.drop()
  await removeFolder(root)
})

/** The bytes that lie in staging. */
async function stagedBytes(): Promise<number> {
  const sizes = (await stagedIn(root)).map(async (name) => (await stat(join(root, '.iclood/incoming', name))).size)
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}

it('an upload is refused for now when the thread of its checksum dies, leaves nothing, and is taken when it comes again', async () => {
  const bytes = jpeg({ date: '2024:07:01 12:00:00', size: 5_000_000 })
  const connection = await RawConnection.open(Number(new URL(server.url).port))
  const { boundary, head, tail } = rawUpload({ device_id: 'iPhone', original_path: 'IMG_0001.JPG' })
  await connection.write(uploadHead(boundary, head.length + bytes.length + tail.length))
  await connection.write(Buffer.concat([head, bytes.subarray(0, 3_000_000)]))
  await until('its first bytes lie in staging', async () => (await stagedBytes()) > 0)
  await hasher.close()
  await connection.write(Buffer.concat([bytes.subarray(3_000_000), tail]))
  const refused = await connection.answer()
  expect(refused?.status).toBe(503)
  expect(refused?.json()).toMatchObject({ status: 'error', code: 'hashing_failed' })
  expect(Number(refused?.headers.get('retry-after'))).toBeGreaterThan(0)
  connection.socket.destroy()
  await until('nothing is left of it', async () => (await stagedIn(root)).length === 0)

  const again = await upload(server.url, bytes, { name: 'IMG_0001.JPG' })
  expect(again.status).toBe(201)
  expect(again.body.backup.sha256).toBe(createHash('sha256').update(bytes).digest('hex'))
})
