import { mkdir, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { runCommand } from '../support/command.ts'
import { drive, makeDrive } from '../support/drives.ts'
import { jpeg } from '../support/media.ts'
import { needs } from '../support/needs.ts'
import { upload } from '../support/phone.ts'
import { makeFolder, startServer } from '../support/server.ts'
import { EMBEDDED } from '../support/surroundings.ts'
import { until } from '../support/wire.ts'

const photo = (seed: string) => jpeg({ seed, date: '2024:07:01 12:00:00' })

/** Modes of all that lies in `folder`, by path. */
async function modesIn(folder: string): Promise<Map<string, number>> {
  const names = await readdir(folder, { recursive: true })
  const modes = await Promise.all(
    ['', ...names].map(async (name) => {
      const found = await stat(join(folder, name)).catch(() => undefined)
      return found === undefined ? [] : [[name, found.mode & 0o777] as const]
    }),
  )
  return new Map(modes.flat())
}

/** Stores a photo, and waits until everything has been written about it. */
async function storeOne(folder: string, env: Record<string, string>): Promise<Map<string, number>> {
  const server = await startServer(folder, env)
  expect((await upload(server.url, photo('one'), { name: 'one.jpg' })).status).toBe(201)
  await until('it is listed', () => stat(join(server.library, '2024/07/SHA256SUMS')).catch(() => undefined))
  await server.stop()
  return modesIn(join(folder, 'data'))
}

it('keeps everything from other users of the machine unless asked, and lets the group read', async () => {
  const modes = await storeOne(await makeFolder(), EMBEDDED)
  for (const [path, mode] of modes) expect(mode & 0o007, path).toBe(0)
  expect(modes.get('photos/2024/07/one.jpg')).toBe(0o640)
  expect(modes.get('photos/2024/07/SHA256SUMS')).toBe(0o640)
  expect(modes.get('photos/2024/07')).toBe(0o750)
  expect(modes.get('photos/.iclood/incoming')).toBe(0o750)
  expect(modes.get('photos/.iclood/library.json')).toBe(0o640)
  expect(modes.get('postgres')).toBe(0o700)
  expect(modes.get('.locks')).toBe(0o700)
})

it('makes it readable by all if asked, and leaves what is there as it is', async () => {
  const folder = await makeFolder()
  await mkdir(join(folder, 'data/photos'), { recursive: true })
  const before = await storeOne(folder, {})
  expect(before.get('photos/2024/07/one.jpg')).toBe(0o640)
  expect(before.get('photos')).toBe(0o755)

  const server = await startServer(folder, { UMASK: '0022' })
  expect((await upload(server.url, photo('two'), { name: 'two.jpg' })).status).toBe(201)
  await server.stop()
  const modes = await modesIn(join(folder, 'data'))
  expect(modes.get('photos/2024/07/one.jpg')).toBe(0o640)
  expect(modes.get('photos/2024/07/two.jpg')).toBe(0o644)
})

it('holds for commands, too', async () => {
  const folder = await makeFolder()
  await storeOne(folder, {})
  await runCommand(folder, ['rebuild'], {})
  for (const [path, mode] of await modesIn(join(folder, 'data'))) expect(mode & 0o007, path).toBe(0)
})

it.each(['0700', '0127', '27', '0o27', '0028', 'rwx'])('is refused as %s, at the start', async (mask) => {
  const folder = await makeFolder()
  await expect(startServer(folder, { UMASK: mask })).rejects.toThrow(/UMASK is .* leaves the owner all rights/)
})

it('is no hindrance on a drive whose file system knows no modes', needs(drive('exfat')), async () => {
  const exfat = await makeDrive('exfat', 64 * 1024 * 1024)
  const folder = await makeFolder()
  const server = await startServer(folder, { UPLOAD_FOLDER: exfat.path })
  expect((await upload(server.url, photo('one'), { name: 'one.jpg' })).status).toBe(201)
  await server.stop()
})
