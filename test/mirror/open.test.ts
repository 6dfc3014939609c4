import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { forgetMirror, listMirrors } from '../../src/catalogue/places.ts'
import { replaceWithMirror } from '../../src/mirror/open.ts'
import { mirrorStatus } from '../../src/mirror/status.ts'
import { createIdentity } from '../../src/storage/identity.ts'
import { drive, makeDrive, originalsIn } from '../support/drives.ts'
import { noise } from '../support/media.ts'
import { isSame, type Mirrored, makeMirrored, type RunningKeeper, startKeeper } from '../support/mirrored.ts'
import { needs } from '../support/needs.ts'
import { makeFolder, removeFolder } from '../support/server.ts'
import { until } from '../support/until.ts'

let folder: string
let mirror: string
let home: Mirrored
let running: RunningKeeper | undefined

beforeEach(async () => {
  folder = await makeFolder()
  mirror = join(folder, 'mirror')
  home = await makeMirrored(join(folder, 'library'))
})

afterEach(async () => {
  await running?.stop()
  running = undefined
  await home.close()
  await removeFolder(folder)
})

function start(options: Parameters<typeof startKeeper>[2] = {}): RunningKeeper {
  running = startKeeper(home.library, mirror, options)
  return running
}

/** All that lies in a folder, as paths. */
async function listing(path: string): Promise<string[]> {
  return (await readdir(path, { recursive: true })).sort()
}

async function identityOf(root: string): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(join(root, '.iclood/library.json'), 'utf8'))
}

describe('the folder of a second copy', () => {
  it('that is empty while the mirror is known is not written to; copying goes on when the drive is back', async () => {
    await home.put('2024/07/a.jpg', noise(100, 'a'))
    await start().until('ok')
    await running?.stop()
    await rename(mirror, `${mirror}.away`)
    await mkdir(mirror)
    const path = await home.put('2024/07/b.jpg', noise(100, 'b'))
    expect(await start().until('missing')).toMatchObject({
      reason: expect.stringContaining('Connect and mount it'),
      backlog: { files: 1, bytes: 100 },
    })
    expect(await listing(mirror)).toEqual([])
    expect((await mirrorStatus(home.library, mirror, 0)).state).toBe('missing')

    await rm(mirror, { recursive: true })
    await rename(`${mirror}.away`, mirror)
    await running?.until('ok')
    expect(await isSame(path, home.root, mirror)).toBe(true)
  })

  it('that goes away while nothing is copied is missed when somebody asks, and found again', async () => {
    const { keeper, until: untilState } = start()
    await untilState('ok')
    await rename(mirror, `${mirror}.away`)
    expect(await keeper.status()).toMatchObject({ state: 'missing' })
    const path = await home.put('2024/07/b.jpg', noise(100, 'b'))
    keeper.note({ originals: [path] })
    await rename(`${mirror}.away`, mirror)
    await untilState('ok')
    expect(await isSame(path, home.root, mirror)).toBe(true)
  })

  it('is not made anew when the catalogue was lost, and the mirror with it out of sight', async () => {
    await start().until('ok')
    await running?.stop()
    for (const { id } of await listMirrors(home.db)) await forgetMirror(home.db, id)
    await rename(mirror, `${mirror}.away`)
    await mkdir(mirror)
    await start().until('missing')
    expect(await listing(mirror)).toEqual([])

    await rm(mirror, { recursive: true })
    await rename(`${mirror}.away`, mirror)
    await running?.until('ok')
  })

  it('that has a mirror of this library is taken over with all it has, when the catalogue knows none', async () => {
    const path = await home.put('2024/07/a.jpg', noise(100, 'a'))
    await start().until('ok')
    await running?.stop()
    const before = await identityOf(mirror)
    const { ino } = await stat(join(mirror, path))
    for (const { id } of await listMirrors(home.db)) await forgetMirror(home.db, id)
    await rm(join(home.root, '.iclood/mirror.json'))
    await start().until('ok')
    expect(await identityOf(mirror)).toEqual(before)
    expect((await stat(join(mirror, path))).ino).toBe(ino)
    expect(await home.copies()).toEqual([path])
  })

  it('that holds another library is left alone', async () => {
    await createIdentity(mirror, new Date())
    await writeFile(join(mirror, 'theirs.txt'), 'a text')
    const before = await listing(mirror)
    expect(await start().until('missing')).toMatchObject({ reason: expect.stringContaining('another library') })
    await expect(replaceWithMirror(home.library, mirror)).rejects.toMatchObject({ code: 'mirror_missing' })
    expect(await listing(mirror)).toEqual(before)
  })

  it('that holds the mirror of another library is left alone', async () => {
    await createIdentity(mirror, new Date(), '11111111-2222-4333-8444-555555555555')
    const before = await listing(mirror)
    expect(await start().until('missing')).toMatchObject({ reason: expect.stringContaining('another library') })
    expect(await listing(mirror)).toEqual(before)
  })

  it('that leads to the library itself is refused', async () => {
    const path = await home.put('2024/07/a.jpg', noise(100, 'a'))
    const before = await listing(home.root)
    running = startKeeper(home.library, home.root)
    expect(await running.until('missing')).toMatchObject({ reason: expect.stringContaining('the library itself') })
    expect(await listing(home.root)).toEqual(before)
    expect(await home.copies()).not.toContain(path)
  })

  it('on a new drive takes the place of the old one only when a person says so', async () => {
    const path = await home.put('2024/07/a.jpg', noise(100, 'a'))
    await start().until('ok')
    const old = await identityOf(mirror)
    await running?.stop()
    await rename(mirror, `${mirror}.old`)
    await mkdir(mirror)
    expect(await start().until('missing')).toMatchObject({ reason: expect.stringContaining('mirror --replace') })
    expect(await listing(mirror)).toEqual([])

    const { identity: id } = await replaceWithMirror(home.library, mirror)
    await running?.until('ok')
    expect(await identityOf(mirror)).toMatchObject({ id, mirror_of: home.library.drive.id })
    expect(await isSame(path, home.root, mirror)).toBe(true)

    // The old drive is a mirror that is not kept up to date any more.
    await running?.stop()
    await rename(mirror, `${mirror}.new`)
    await rename(`${mirror}.old`, mirror)
    expect(await start().until('missing')).toMatchObject({
      reason: expect.stringContaining('not the one that is kept'),
    })
    await replaceWithMirror(home.library, mirror)
    await running?.until('ok')
    expect(await identityOf(mirror)).toEqual(old)
  })

  it('that is on the library’s own drive is used, with a warning', async () => {
    expect(await start().until('ok')).toMatchObject({ isOnOneDevice: true })
    expect(running?.log.join()).toContain('on the same drive as the library')
  })

  it('whose identity file is damaged is not written to', async () => {
    await start().until('ok')
    await running?.stop()
    await writeFile(join(mirror, '.iclood/library.json'), '{"format": 1, "id"')
    await home.put('2024/07/a.jpg', noise(100, 'a'))
    expect(await start().until('error')).toMatchObject({ reason: expect.stringContaining('library.json') })
    expect(await originalsIn(mirror)).toEqual([])
  })

  it('can be kept by one server at a time', async () => {
    await start().until('ok')
    const other = startKeeper(home.library, mirror)
    expect(await other.until('error')).toMatchObject({ reason: expect.stringContaining('Another iClood server') })
    await running?.stop()
    await other.until('ok')
    await other.stop()
  })
})

describe('a mirror that does not tell upper from lower case', needs(drive('exfat')), () => {
  it('holds one of two such names, says which it can’t hold, and takes none for the other', async () => {
    const usb = await makeDrive('exfat')
    try {
      await home.put('2024/07/IMG.JPG', noise(5000, 'upper'))
      // What has come last is copied first.
      const lower = await home.put('2024/07/img.jpg', noise(5000, 'lower'))
      const strange = await home.put('2024/07/a?b.jpg', noise(5000, 'strange'))
      const later = await home.put('2024/08/later.jpg', noise(5000, 'later'))
      running = startKeeper(home.library, usb.path)
      // In trouble it may be before all that it can copy is copied.
      const { keeper } = running
      await until('two are left', async () => {
        const { state, backlog } = await keeper.status()
        return state === 'error' && backlog.files === 2
      })
      expect(await home.copies()).toEqual([lower, later].sort())
      expect(await isSame(lower, home.root, usb.path)).toBe(true)
      expect(await readdir(join(usb.path, '.iclood'))).not.toContain('quarantine')
      expect(running.log.join()).toContain(strange)

      await running.stop()
      running = startKeeper(home.library, usb.path)
      await running.until('error')
      expect(await home.copies()).toEqual([lower, later].sort())
      expect(await isSame(lower, home.root, usb.path)).toBe(true)
    } finally {
      await running?.stop()
      await usb.remove()
    }
  })
})
