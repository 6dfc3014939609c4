import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { makeFolders } from '../../src/base/make-folders.ts'
import { drive, makeDrive } from '../support/drives.ts'
import { needs } from '../support/needs.ts'
import { makeFolder, removeFolder } from '../support/server.ts'

let folder: string
beforeEach(async () => {
  folder = await makeFolder()
})
afterEach(() => removeFolder(folder))

it('makes what is missing, says where that begins, and leaves what is there', async () => {
  const path = join(folder, 'a/b/c')
  expect(await makeFolders(path)).toBe(join(folder, 'a'))
  expect(await makeFolders(path)).toBeUndefined()
  expect(await makeFolders(join(folder, 'a/b/d'))).toBe(join(folder, 'a/b/d'))
})

it('many at once make the same folders', async () => {
  await Promise.all(Array.from({ length: 20 }, () => makeFolders(join(folder, 'a/b/c'))))
  expect(await makeFolders(join(folder, 'a/b/c'))).toBeUndefined()
})

it('says what is in the way', async () => {
  await writeFile(join(folder, 'file'), '')
  await symlink('nowhere', join(folder, 'link'))
  await expect(makeFolders(join(folder, 'file'))).rejects.toMatchObject({ code: 'EEXIST' })
  await expect(makeFolders(join(folder, 'file/a/b'))).rejects.toMatchObject({ code: 'ENOTDIR' })
  await expect(makeFolders(join(folder, 'link'))).rejects.toMatchObject({ code: 'EEXIST' })
})

it('on a read-only file system says that it is read-only', needs(drive('tmpfs')), async () => {
  const usb = await makeDrive('tmpfs')
  try {
    await mkdir(join(usb.path, 'there'))
    await usb.remount('ro')
    await expect(makeFolders(join(usb.path, 'a/b/c'))).rejects.toMatchObject({ code: 'EROFS' })
    expect(await makeFolders(join(usb.path, 'there'))).toBeUndefined()
  } finally {
    await usb.remove()
  }
})
