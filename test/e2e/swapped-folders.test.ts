import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { jpeg } from '../support/media.ts'
import { upload } from '../support/phone.ts'
import { randomFor, rounds } from '../support/rounds.ts'
import { makeFolder, startServer } from '../support/server.ts'

/** Ten minutes at `ROUNDS=150`. */
const SECONDS = rounds(4)
const SWAPPED = ['2024', '2024/07', '.iclood/incoming', '.iclood/journal', '.iclood/quarantine']

/** Names and bytes of all that lies in a folder. */
async function contents(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const all = entries.map(async (entry) => {
    const path = join(entry.parentPath, entry.name)
    return entry.isFile() ? `${path}: ${await readFile(path, 'utf8')}` : path
  })
  return (await Promise.all(all)).sort()
}

it('folders that are swapped for links while phones send lead nowhere, and every success is on the drive', async () => {
  const folder = await makeFolder()
  const outside = join(folder, 'outside')
  for (const path of ['07', 'incoming', 'journal']) await mkdir(join(outside, path), { recursive: true })
  const baits = ['letter.txt', '00000001-log.jsonl', '00000002-snapshot.jsonl.part', 'SHA256SUMS', 'IMG_1.JPG']
  for (const bait of ['6f1c0f6e-54a5-4a39-9b7e-0f3d0a8b2c11.part', ...baits]) {
    for (const path of ['.', '07', 'incoming', 'journal']) await writeFile(join(outside, path, bait), 'theirs')
  }
  const before = await contents(outside)
  const server = await startServer(folder)
  for (const path of SWAPPED) await mkdir(join(server.library, path), { recursive: true })

  let isOver = false
  const random = randomFor('which folder is swapped')
  const swapping = (async () => {
    while (!isOver) {
      const place = join(server.library, SWAPPED[Math.floor(random() * SWAPPED.length)] ?? '2024')
      // The server may make the folder anew in between: that one stays beside it.
      await rename(place, `${place}.aside`).catch(() => {})
      await symlink(outside, place).catch(() => {})
      await setTimeout(random() * 4)
      await rm(place).catch(() => {})
      await rename(`${place}.aside`, place).catch(() => {})
      await setTimeout(random() * 4)
    }
  })()
  const stored: Buffer[] = []
  const statuses = new Map<number, number>()
  let number = 0
  const end = performance.now() + SECONDS * 1000
  const phone = async () => {
    while (performance.now() < end) {
      const bytes = jpeg({ date: '2024:07:01 12:00:00', size: 2_000, seed: `${number++}` })
      const { status } = await upload(server.url, bytes, { name: `IMG_${number}.JPG` })
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
      if (status === 201) stored.push(bytes)
    }
  }
  await Promise.all(Array.from({ length: 3 }, phone))
  isOver = true
  await swapping

  expect([...statuses.keys()].filter((status) => status !== 201 && status !== 503)).toEqual([])
  expect(stored.length).toBeGreaterThan(0)
  expect((await upload(server.url, jpeg({ date: '2024:07:02 12:00:00', seed: 'last' }))).status).toBe(201)
  expect(await server.stop()).toBe(0)
  expect(await contents(outside)).toEqual(before)
  const found = new Set<string>()
  for (const entry of await readdir(server.library, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) found.add((await readFile(join(entry.parentPath, entry.name))).toString('base64'))
  }
  expect(stored.filter((bytes) => !found.has(bytes.toString('base64')))).toEqual([])
})
