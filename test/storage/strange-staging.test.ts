import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import type { Drive } from '../../src/storage/drive.ts'

import { clearStaging } from '../../src/storage/staging.ts'
import { drive as driveNeeds, makeDrive } from '../support/drives.ts'
import { openLibrary } from '../support/library.ts'
import { needs } from '../support/needs.ts'
import { makeFolder, removeFolder } from '../support/server.ts'

/** What only a server writes. */
const OURS = '6f1c0f6e-54a5-4a39-9b7e-0f3d0a8b2c11.part'

let root: string
let home: string
let drive: Drive
let staging: string
beforeAll(async () => {
  root = await makeFolder()
  home = await makeFolder()
  drive = (await openLibrary(root)).drive
  staging = join(root, '.iclood/incoming')
})
afterAll(async () => {
  await removeFolder(root)
  await removeFolder(home)
})
beforeEach(async () => {
  await rm(staging, { recursive: true, force: true })
  await rm(join(home, 'inside'), { recursive: true, force: true })
  await mkdir(join(home, 'inside'))
  for (const name of [OURS, 'letter.txt']) await writeFile(join(home, 'inside', name), name)
})

const strange = { code: 'drive_error', message: expect.stringMatching(/^\.iclood\/incoming on the drive is a link/) }

async function isUnharmed(folder: string): Promise<void> {
  expect((await readdir(folder)).sort()).toEqual([OURS, 'letter.txt'])
  expect(await readFile(join(folder, 'letter.txt'), 'utf8')).toBe('letter.txt')
}

it('clears nothing through a link in the place of staging, and stages nothing there', async () => {
  await symlink(join(home, 'inside'), staging)
  await expect(clearStaging(drive)).rejects.toMatchObject(strange)
  await isUnharmed(join(home, 'inside'))
  await rm(staging)
  expect(await clearStaging(drive)).toEqual({ files: 0, others: [] })
})

it('clears nothing through a relative link to a year', async () => {
  await mkdir(join(root, '2024'), { recursive: true })
  for (const name of [OURS, 'letter.txt']) await writeFile(join(root, '2024', name), name)
  await symlink('../2024', staging)
  await expect(clearStaging(drive)).rejects.toMatchObject(strange)
  await isUnharmed(join(root, '2024'))
})

it('clears nothing through a link in the place of the private folder', async () => {
  await mkdir(staging)
  await rename(join(root, '.iclood'), join(home, 'private'))
  try {
    await symlink(join(home, 'private'), join(root, '.iclood'))
    await writeFile(join(home, 'private/incoming', OURS), 'theirs')
    await expect(clearStaging(drive)).rejects.toMatchObject({ code: 'drive_error' })
    expect(await readdir(join(home, 'private/incoming'))).toEqual([OURS])
  } finally {
    await rm(join(root, '.iclood'))
    await rename(join(home, 'private'), join(root, '.iclood'))
  }
})

it('removes no folder, no link and no file of another name from staging', async () => {
  await mkdir(join(staging, 'folder'), { recursive: true })
  await writeFile(join(staging, 'folder/letter.txt'), 'a')
  await mkdir(join(staging, OURS.replace('6', '7')))
  await symlink(join(home, 'inside'), join(staging, OURS.replace('6', '8')))
  await writeFile(join(staging, 'letter.part'), 'a')
  await writeFile(join(staging, OURS), 'left')
  const { files, others } = await clearStaging(drive)
  expect(files).toBe(1)
  expect(others.sort()).toEqual([OURS.replace('6', '7'), OURS.replace('6', '8'), 'folder', 'letter.part'])
  expect((await readdir(staging)).sort()).toEqual(others.sort())
  await isUnharmed(join(home, 'inside'))
})

it('clears nothing on another file system', needs(driveNeeds('tmpfs')), async () => {
  const other = await makeDrive('tmpfs', 1024 * 1024)
  try {
    await writeFile(join(other.path, OURS), 'theirs')
    await symlink(other.path, staging)
    await expect(clearStaging(drive)).rejects.toMatchObject(strange)
    expect(await readdir(other.path)).toEqual([OURS])
  } finally {
    await other.remove()
  }
})
