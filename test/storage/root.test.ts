import { execFile } from 'node:child_process'
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { Root } from '../../src/storage/entry.ts'
import { io } from '../../src/storage/io.ts'
import { drive, makeDrive } from '../support/drives.ts'
import { endsWithTest } from '../support/ends.ts'
import { needs } from '../support/needs.ts'
import { makeFolder } from '../support/server.ts'

const run = promisify(execFile)

/** A folder with a photo in it. */
async function makePhotos(folder: string): Promise<string> {
  await mkdir(join(folder, '2024/07'), { recursive: true })
  await writeFile(join(folder, '2024/07/a.jpg'), 'a photo')
  return folder
}

/** That the library is used by this path, and lies in `real` by the system's own name for it. */
async function expectUsed(path: string, real: string): Promise<Root> {
  const root = new Root(path)
  expect((await root.anchor()).folder).toBe(real)
  expect(await io.list(root.at('2024/07'))).toEqual(['a.jpg'])
  expect(await io.readText(root.at('2024/07/a.jpg'), 100)).toBe('a photo')
  expect(await root.hasMoved()).toBe(false)
  return root
}

it('a library is reached through links to it and above it, and is seen to move when they lead elsewhere', async () => {
  const folder = await makeFolder()
  const real = await makePhotos(join(folder, 'drive/photos'))
  await symlink('drive', join(folder, 'linked'))
  await symlink('linked/photos', join(folder, 'library'))
  await expectUsed(join(folder, 'linked/photos'), real)
  const root = await expectUsed(join(folder, 'library'), real)
  const other = await makePhotos(join(folder, 'other/photos'))
  await rm(join(folder, 'linked'))
  await symlink('other', join(folder, 'linked'))
  expect(await root.hasMoved()).toBe(true)
  root.letGo()
  expect((await root.anchor()).folder).toBe(other)
  await rename(other, `${other} away`)
  await expect(root.hasMoved()).rejects.toMatchObject({ code: 'ENOENT' })
})

it('a library is reached by a bind mount, which is its name then', needs(drive('tmpfs')), async () => {
  const folder = await makeFolder()
  const real = await makePhotos(join(folder, 'photos'))
  const bound = join(folder, 'bound')
  await mkdir(bound)
  await run('mount', ['--bind', real, bound])
  endsWithTest(() => run('umount', ['-l', bound]))
  const root = await expectUsed(bound, bound)
  await run('umount', ['-l', bound])
  await expect(io.list(root.at('2024/07'))).rejects.toMatchObject({ code: 'ENOENT' })
  await run('mount', ['--bind', real, bound])
})

it(
  'a library is reached by a name in other letters, where the drive does not tell them apart',
  needs(drive('exfat')),
  async () => {
    const usb = await makeDrive('exfat')
    await makePhotos(join(usb.path, 'Photos'))
    for (const name of ['Photos', 'photos', 'PHOTOS']) {
      const root = new Root(join(usb.path, name))
      expect((await root.anchor()).folder.toLowerCase()).toBe(join(usb.path, 'photos').toLowerCase())
      expect(await io.readText(root.at('2024/07/a.jpg'), 100)).toBe('a photo')
    }
  },
)
