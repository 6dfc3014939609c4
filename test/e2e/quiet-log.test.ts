import { rename } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { jpeg } from '../support/media.ts'
import { get, post, upload } from '../support/phone.ts'
import { makeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/wire.ts'

const photo = (seed: string) => jpeg({ date: '2024:07:01 12:00:00', seed: `quiet log ${seed}` })

function linesOf(server: TestServer) {
  return server
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { msg: string; code?: string; err?: unknown })
}

it('a drive that is away is one line, without a stack, however many requests it fails; arrivals are one line', async () => {
  const server = await startServer(await makeFolder())
  for (const seed of ['a', 'b', 'c']) await upload(server.url, photo(seed), { fields: { device_id: 'iPhone 15' } })
  await rename(server.library, `${server.library} away`)
  for (let n = 0; n < 5; n++) {
    expect((await upload(server.url, photo('d'))).status).toBe(503)
    expect((await get(server.url, '/storage/status')).status).toBe(503)
    await post(server.url, '/photos/new', { files: [{ path: '/DCIM/a' }] })
  }
  await rename(`${server.library} away`, server.library)
  expect((await get(server.url, '/storage/status')).status).toBe(200)
  await server.stop()
  const lines = linesOf(server)
  expect(lines.filter(({ code }) => code === 'drive_missing')).toHaveLength(1)
  expect(server.output()).not.toContain('"stack"')
  expect(lines.map(({ msg }) => msg)).toContain('3 photos from "iPhone 15"')
  expect(lines.filter(({ msg }) => /photo.* from/.test(msg))).toHaveLength(1)
})

it('a drive that is away at the start, and after that, is one line each time', async () => {
  const folder = await makeFolder()
  const first = await startServer(folder)
  await upload(first.url, photo('a'))
  await first.stop()
  await rename(first.library, `${first.library} away`)
  const server = await startServer(folder)
  const isBack = async () => (await get(server.url, '/storage/status')).status === 200
  const missing = () => linesOf(server).filter(({ code }) => code === 'drive_missing')
  expect(await isBack()).toBe(false)
  expect(missing()).toHaveLength(1)
  await rename(`${first.library} away`, first.library)
  await until('the drive is back', isBack)
  await rename(first.library, `${first.library} away`)
  expect(await isBack()).toBe(false)
  expect(missing()).toHaveLength(2)
  await server.stop()
})
