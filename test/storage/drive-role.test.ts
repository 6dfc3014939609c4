import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { libraryDrive, MIRROR_DRIVE, missingDrive, refuseUnmounted } from '../../src/storage/drive-role.ts'
import { createIdentity } from '../../src/storage/identity.ts'
import { unmountedPlace, whereaboutsOf } from '../../src/storage/whereabouts.ts'
import { makeFolder, removeFolder } from '../support/server.ts'

const ID = '11111111-2222-4333-8444-555555555555'
let folder: string
let root: string
beforeEach(async () => {
  folder = await makeFolder()
  root = join(folder, 'photos')
})
afterEach(() => removeFolder(folder))

it.each([
  ['does not exist', async () => {}],
  ['is empty', () => mkdir(root)],
  ['is empty', () => mkdir(join(root, 'lost+found'), { recursive: true })],
  ['holds other things, but no photo library', () => mkdir(join(root, '2024/07'), { recursive: true })],
  ['holds other things, but no photo library', () => writeFile(root, 'a file')],
])('a folder that %s is described so, for clients without its path', async (found, prepare) => {
  await prepare()
  for (const [role, setting] of [
    [libraryDrive(), 'UPLOAD_FOLDER'],
    [MIRROR_DRIVE, 'MIRROR_FOLDER'],
  ] as const) {
    const error = await missingDrive(role, root, ID)
    expect(error.code).toBe(role.missing)
    expect(error.message).toContain(`is not there: the folder that ${setting} names ${found}. Connect`)
    expect(error.message).not.toContain(folder)
    expect(error.detail).toBe(`${setting} is ${root}.`)
  }
})

it('another library and a second copy are named', async () => {
  const id = await createIdentity(root, new Date())
  const mirror = await createIdentity(join(folder, 'mirror'), new Date(), id)
  expect((await missingDrive(libraryDrive(), root, ID)).message).toContain(`holds another library (${id})`)
  expect((await missingDrive(libraryDrive(), join(folder, 'mirror'), ID)).message).toContain(
    `holds the second copy of a library (${mirror})`,
  )
})

it('where the photos were last seen is said, and how to move them to a place that is free, in a shell’s words', async () => {
  const lastSeen = { folder: '/mnt/anna’s old/photos', mountPoint: '/mnt' }
  const { message, detail } = await missingDrive(libraryDrive(lastSeen), root, ID)
  expect(message).toContain('the photos lie in the folder that it named before')
  expect(detail).toBe(
    `They were last seen in ${lastSeen.folder}. To move them: cp -a '/mnt/anna’s old/photos/.' ${root}`,
  )
  await mkdir(join(root, '2024'), { recursive: true })
  const other = await missingDrive(libraryDrive(lastSeen), root, ID)
  expect(other.detail).toBe(`UPLOAD_FOLDER is ${root}. The photos were last seen in ${lastSeen.folder}.`)
})

it('the place of a drive is known from where it was, and missed when nothing is mounted there', async () => {
  // Here nothing is mounted, as after a drive was pulled.
  const known = { folder: root, mountPoint: folder }
  expect(await unmountedPlace(root, known)).toBe(folder)
  await expect(refuseUnmounted(libraryDrive(known), root)).rejects.toMatchObject({
    code: 'drive_missing',
    message: expect.stringContaining('no drive is mounted where UPLOAD_FOLDER leads to'),
  })
  // Another folder has nothing to do with it, and a folder on the system’s own disk needs no drive.
  expect(await unmountedPlace(join(folder, 'elsewhere'), known)).toBeUndefined()
  expect(await unmountedPlace(root, { folder: root, mountPoint: '/' })).toBeUndefined()
  await refuseUnmounted(libraryDrive(), root)
})

it('where a library lies is found out as the system has it mounted', async () => {
  expect(await whereaboutsOf('/proc/self')).toEqual({ folder: '/proc/self', mountPoint: '/proc' })
})
