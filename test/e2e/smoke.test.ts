import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { jpeg } from '../support/media.ts'
import { get, post, upload } from '../support/phone.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { EMBEDDED } from '../support/surroundings.ts'

let server: TestServer

beforeAll(async () => {
  server = await startServer(await makeFolder(), EMBEDDED)
})

afterAll(async () => {
  await server.stop()
  await removeFolder(server.folder)
})

it('a photo that a phone was asked for is on the drive byte for byte and not asked for again', async () => {
  const photo = jpeg({ date: '2024:07:01 12:00:00', size: 100_000 })
  const path = 'file:///var/mobile/Media/DCIM/100APPLE/IMG_0001.JPG'
  const list = { device_id: 'iPhone 16', files: [{ id: 'A/L0/001', path, size: 0, created: 1719828000000 }] }

  expect((await post(server.url, '/photos/new', list)).body).toMatchObject({ count: 1, new_files: list.files })
  const answer = await upload(server.url, photo, {
    name: 'IMG_0001.JPG',
    fields: { original_path: path, device_id: 'iPhone 16', file_type: 'photo' },
  })
  expect(answer).toMatchObject({ status: 201, body: { backup: { file_path: '2024/07/IMG_0001.JPG' } } })
  expect((await readFile(join(server.library, '2024/07/IMG_0001.JPG'))).equals(photo)).toBe(true)

  expect((await post(server.url, '/photos/new', list)).body).toMatchObject({ count: 0, backed_up_count: 1 })
  expect((await get(server.url, '/backup/log')).body).toMatchObject({ total: 1, count: 1 })
})
