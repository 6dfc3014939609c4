import { rename } from 'node:fs/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { jpeg, mov } from '../support/media.ts'
import { get, post, upload } from '../support/phone.ts'
import { makeFolder, startServer, type TestServer } from '../support/server.ts'

let server: TestServer

beforeEach(async () => {
  server = await startServer(await makeFolder())
})

afterEach(() => server.stop())

const photos = [1, 2, 3].map((n) => jpeg({ date: '2024:07:01 12:00:00', seed: `storage ${n}`, size: 10_000 + n }))
const film = mov({ creationDate: '2024-07-01T12:00:00+0200', seed: 'storage film', size: 30_000 })

const totals = async () => (await get(server.url, '/storage/status')).body.backups
const send = (bytes: Buffer, name: string, device: string) =>
  upload(server.url, bytes, { name, fields: { device_id: device, original_path: `/DCIM/${device}/${name}` } })

it('a new phone with the same photos does not make them more', async () => {
  for (const device of ['iPhone 12', 'iPhone 15']) {
    for (const [n, bytes] of photos.entries()) await send(bytes, `${n}.JPG`, device)
    await send(film, 'FILM.MOV', device)
  }
  expect(await totals()).toMatchObject({
    photo_count: 3,
    video_count: 1,
    total_count: 4,
    total_size_bytes: [...photos, film].reduce((sum, { length }) => sum + length, 0),
  })
  expect((await get(server.url, '/backup/log')).body.total).toBe(8)
  expect((await get(server.url, '/library/health')).body).toMatchObject({ photo_count: 3, video_count: 1 })
})

it('what the app polls is right at once after each change, and says at once that the drive has gone', async () => {
  for (const [n, bytes] of photos.entries()) {
    await send(bytes, `${n}.JPG`, 'iPhone')
    expect(await totals()).toMatchObject({ photo_count: n + 1 })
    expect((await get(server.url, '/storage/usage')).body.icloud_used_bytes).toBe(
      photos.slice(0, n + 1).reduce((sum, { length }) => sum + length, 0),
    )
    expect((await get(server.url, '/backup/history')).body.history).toHaveLength(n + 1)
  }
  await post(server.url, '/photos/new', { device_id: 'iPhone', files: [{ path: '/DCIM/more', name: 'more' }] })
  expect(await totals()).toMatchObject({ photo_count: photos.length })
  await rename(server.library, `${server.library} away`)
  expect((await get(server.url, '/storage/status')).status).toBe(503)
  expect((await get(server.url, '/storage/usage')).status).toBe(503)
  await rename(`${server.library} away`, server.library)
  expect(await totals()).toMatchObject({ photo_count: photos.length })
})
