import { join } from 'node:path'
import { expect, it } from 'vitest'
import { areOnOneDevice } from '../../src/storage/one-device.ts'
import { drive, makeDrive } from '../support/drives.ts'
import { needs } from '../support/needs.ts'
import { makeFolder, removeFolder } from '../support/server.ts'

it('two folders of one file system are on one device, a mounted drive is another', needs(drive('ext4')), async () => {
  const [folder, usb, other] = [await makeFolder(), await makeDrive('ext4'), await makeDrive('ext4')]
  try {
    expect(await areOnOneDevice(folder, join(folder, '..'))).toBe(true)
    expect(await areOnOneDevice(folder, usb.path)).toBe(false)
    expect(await areOnOneDevice(other.path, usb.path)).toBe(false)
    await expect(areOnOneDevice(folder, join(folder, 'nowhere'))).rejects.toMatchObject({ code: 'ENOENT' })
  } finally {
    await usb.remove()
    await other.remove()
    await removeFolder(folder)
  }
})
