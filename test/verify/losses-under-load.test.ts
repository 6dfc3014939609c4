import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import type { LibraryPath } from '../../src/format/layout.ts'
import { verifyOriginal } from '../../src/verify/verify-original.ts'
import { type InProcessServer, startInProcess } from '../support/in-process.ts'
import { jpeg } from '../support/media.ts'
import { post, upload } from '../support/phone.ts'
import { startTestDatabase } from '../support/postgres.ts'
import { rounds } from '../support/rounds.ts'
import { makeFolder } from '../support/server.ts'

let server: InProcessServer

beforeAll(async () => {
  server = await startInProcess(await makeFolder(), await startTestDatabase())
})

it('originals are lost and found while their phone asks about them, and neither waits for the other for ever', async () => {
  const photos = await Promise.all(
    Array.from({ length: 6 }, async (_, index) => {
      const name = `IMG_${index}.JPG`
      const bytes = jpeg({ date: '2024:07:01 12:00:00', seed: name, size: 3000 })
      const { body } = await upload(server.url, bytes, { name, fields: { original_path: name, asset_id: name } })
      return { name, bytes, path: body.backup.file_path as LibraryPath }
    }),
  )
  let isOver = false
  const statuses = new Set<number>()
  const phones = Array.from({ length: 3 }, async () => {
    for (let times = 0; !isOver; times++) {
      // Something new about each of them every time: the rows are written.
      const files = photos.map(({ name }) => ({ path: name, id: name, name, size: 3000 + times, created: times }))
      statuses.add((await post(server.url, '/photos/new', { files })).status)
    }
  })
  const rotting = photos.map(async ({ path, bytes }) => {
    for (let times = 0; times < rounds(20); times++) {
      await rm(join(server.root, path))
      expect((await verifyOriginal(server.library, path))?.state).toBe('missing')
      await writeFile(join(server.root, path), bytes)
      expect(await verifyOriginal(server.library, path)).toMatchObject({ state: 'intact', isRestored: true })
    }
  })
  const results = await Promise.allSettled(rotting)
  isOver = true
  await Promise.all(phones)
  expect(results.filter(({ status }) => status === 'rejected')).toEqual([])
  expect([...statuses]).toEqual([200])
})
