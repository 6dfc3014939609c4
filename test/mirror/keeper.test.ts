import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { LibraryPath } from '../../src/format/layout.ts'
import { mirrorStatus } from '../../src/mirror/status.ts'
import { io } from '../../src/storage/io.ts'
import { originalsIn, stagedIn } from '../support/drives.ts'
import { injectFaults } from '../support/faults.ts'
import { noise } from '../support/media.ts'
import { isSame, type Mirrored, makeMirrored, type RunningKeeper, sha256, startKeeper } from '../support/mirrored.ts'
import { makeFolder, removeFolder } from '../support/server.ts'
import { until } from '../support/until.ts'

const MB = 1024 * 1024
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

async function identityOf(root: string): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(join(root, '.iclood/library.json'), 'utf8'))
}

/** The names in the mirror's quarantine of July 2024, without the time of the move. */
async function quarantined(): Promise<string[]> {
  const names = await readdir(join(mirror, '.iclood/quarantine/2024/07')).catch(() => [])
  return names.map((name) => name.replace(/\.\d{8}T\d{6}Z(-\d+)?$/, ''))
}

describe('a second copy', () => {
  it('has every original under the same path, in SHA256SUMS, and the catalogue knows it', async () => {
    const paths = [
      await home.put('2024/07/IMG_0001.HEIC', noise(3 * MB + 17, 'one')),
      await home.put('2024/07/a name\nwith\\ everything.jpg', noise(100, 'two')),
      await home.put('2023/12/empty.jpg', Buffer.alloc(0)),
      await home.put('old/camera/IMG.JPG', noise(5000, 'four')),
    ].sort()
    const status = await start().until('ok')
    expect(status).toMatchObject({ reason: null, backlog: { files: 0, bytes: 0, oldest: null }, isOnOneDevice: true })
    expect(await home.copies()).toEqual(paths)
    for (const path of paths) expect(await isSame(path, home.root, mirror), path).toBe(true)
    expect((await originalsIn(mirror)).filter((path) => !path.endsWith('SHA256SUMS'))).toEqual(paths)
    expect(await stagedIn(mirror)).toEqual([])
    expect(await readFile(join(mirror, '2024/07/SHA256SUMS'), 'utf8')).toContain(
      `${sha256(noise(3 * MB + 17, 'one'))}  IMG_0001.HEIC\n`,
    )
  })

  it('is a library of its own that says whose mirror it is', async () => {
    await start().until('ok')
    const [own, copy] = [await identityOf(home.root), await identityOf(mirror)]
    expect(copy).toMatchObject({ format: 1, mirror_of: own['id'] })
    expect(copy['id']).not.toBe(own['id'])
    expect(own).not.toHaveProperty('mirror_of')
  })

  it('gets what is stored later, as soon as it is told', async () => {
    const { keeper, until: untilState } = start()
    await untilState('ok')
    const path = await home.put('2024/08/IMG_0002.HEIC', noise(5000, 'later'))
    expect(await mirrorStatus(home.library, mirror, 0)).toMatchObject({
      state: 'behind',
      backlog: { files: 1, bytes: 5000, oldest: expect.any(Date) },
    })
    keeper.note({ originals: [path] })
    await untilState('ok')
    expect(await isSame(path, home.root, mirror)).toBe(true)
  })

  it('waits for an original that has not been read yet, and keeps that of one which the library has lost', async () => {
    const unread = await home.put('2024/07/unread.jpg', noise(100, 'unread'))
    await sql`update files set checksum = null where path = ${unread}`.execute(home.db)
    const lost = await home.put('2024/07/lost.jpg', noise(100, 'lost'))
    const { keeper } = start()
    await until('the other one is copied', async () => (await home.copies()).includes(lost))
    await sql`update copies set wanted_since = now(), lost_at = now() where place = 0 and path = ${lost}`.execute(
      home.db,
    )
    keeper.note({ originals: [lost] })
    expect(await running?.until('behind')).toMatchObject({ backlog: { files: 1 } })

    await sql`update files set checksum = decode(${sha256(noise(100, 'unread'))}, 'hex') where path = ${unread}`.execute(
      home.db,
    )
    keeper.note({ originals: [unread] })
    await running?.until('ok')
    expect(await home.copies()).toEqual([lost, unread])
    expect(await isSame(lost, home.root, mirror)).toBe(true)
  })

  it('takes what lies in the place already for the copy if it has the same bytes', async () => {
    const path = await home.put('2024/07/IMG_0001.HEIC', noise(5000, 'same'))
    await mkdir(join(mirror, '2024/07'), { recursive: true })
    await writeFile(join(mirror, path), noise(5000, 'same'))
    const { ino } = await stat(join(mirror, path))
    await start().until('ok')
    expect((await stat(join(mirror, path))).ino).toBe(ino)
    expect(await home.copies()).toEqual([path])
    expect(await quarantined()).toEqual([])
  })

  it('moves what else lies in the place to its quarantine, whatever it is', async () => {
    await home.put('2024/07/other.jpg', noise(5000, 'right'))
    await home.put('2024/07/longer.jpg', noise(5000, 'longer'))
    await home.put('2024/07/folder.jpg', noise(5000, 'folder'))
    await mkdir(join(mirror, '2024/07/folder.jpg'), { recursive: true })
    await writeFile(join(mirror, '2024/07/folder.jpg/in it'), 'a text')
    await writeFile(join(mirror, '2024/07/other.jpg'), noise(5000, 'wrong'))
    await writeFile(join(mirror, '2024/07/longer.jpg'), noise(5001, 'longer'))
    await start().until('ok')
    expect((await quarantined()).sort()).toEqual(['folder.jpg', 'longer.jpg', 'other.jpg'])
    for (const name of ['other', 'longer', 'folder']) {
      expect(await isSame(`2024/07/${name}.jpg`, home.root, mirror)).toBe(true)
    }
  })

  it('moves a copy to its quarantine when its original has left its path', async () => {
    const [stays, goes] = [
      await home.put('2024/07/stays.jpg', noise(100, 'stays')),
      await home.put('2024/07/goes.jpg', noise(100, 'goes')),
    ]
    const { keeper, until: untilState } = start()
    await untilState('ok')
    await sql`delete from files where path = ${goes}`.execute(home.db)
    const sums = join(mirror, '2024/07/SHA256SUMS')
    keeper.note({ originals: [goes] })
    await until('it is gone', async () => !(await readFile(sums, 'utf8')).includes('goes.jpg'))
    expect(await quarantined()).toEqual(['goes.jpg'])
    expect(await readFile(sums, 'utf8')).toBe(`${sha256(noise(100, 'stays'))}  stays.jpg\n`)
    expect(await isSame(stays, home.root, mirror)).toBe(true)
  })

  it('never gets bytes that are not those which were stored: that original is read back instead', async () => {
    const [rotten, gone] = [
      await home.put('2024/07/rotten.jpg', noise(5000, 'rotten')),
      await home.put('2024/07/gone.jpg', noise(5000, 'gone')),
    ]
    const good = await home.put('2024/07/zzz.jpg', noise(5000, 'good'))
    await writeFile(join(home.root, rotten), noise(5000, 'rot'))
    await rm(join(home.root, gone))
    const suspects: LibraryPath[] = []
    start({
      suspect: async (path) => {
        suspects.push(path)
        await sql`update copies set wanted_since = now(), lost_at = now() where place = 0 and path = ${path}`.execute(
          home.db,
        )
      },
    })
    await running?.until('ok')
    expect(suspects.sort()).toEqual([gone, rotten])
    expect(await home.copies()).toEqual([good])
    expect((await originalsIn(mirror)).filter((path) => !path.endsWith('SHA256SUMS'))).toEqual([good])
    expect(await stagedIn(mirror)).toEqual([])
  })

  it('counts only when the drive gives back what was written to it', async () => {
    const path = await home.put('2024/07/a.jpg', noise(5000, 'a'))
    const { writev } = io
    const faults = injectFaults()
    // A drive, or its cable, that changes what it takes.
    faults.behave('writev', (file, chunks, position) => {
      const bytes = Buffer.concat(chunks as Buffer[])
      if (bytes.length === 5000) bytes.writeUInt8(bytes.readUInt8(4000) ^ 1, 4000)
      return writev(file as number, [bytes], position as number)
    })
    try {
      const status = await start().until('error')
      expect(status).toMatchObject({ reason: expect.stringContaining('other bytes'), backlog: { files: 1 } })
      expect(await home.copies()).toEqual([])
      expect(await originalsIn(mirror)).toEqual([])
    } finally {
      faults.restore()
    }
    await running?.stop()
    await start().until('ok')
    expect(await isSame(path, home.root, mirror)).toBe(true)
  })

  it('says what it could not copy, and copies the rest', async () => {
    await home.put('2024/07/bad.jpg', noise(100, 'bad'))
    await rm(join(home.root, '2024/07/bad.jpg'))
    const good = await home.put('2024/08/good.jpg', noise(100, 'good'))
    const { keeper } = start()
    await until('it has copied the rest', async () => (await keeper.status()).backlog.files === 1)
    await until('it says what it could not copy', async () =>
      (await keeper.status()).reason?.includes('2024/07/bad.jpg'),
    )
    expect(await home.copies()).toEqual([good])
    expect(running?.log.filter((line) => line.includes('bad.jpg'))).toHaveLength(1)
  })

  it('goes on after a kill where it was: a copy without a row is compared, not made again', async () => {
    const paths = [await home.put('2024/07/a.jpg', noise(100, 'a')), await home.put('2024/07/b.jpg', noise(100, 'b'))]
    await start().until('ok')
    await running?.stop()
    // Between the name and the row; with a torn line in SHA256SUMS, and a half copy in staging.
    await sql`update copies set wanted_since = now(), copied_at = null, verified_at = null where place <> 0 and path = ${paths[1]}`.execute(
      home.db,
    )
    const sums = await readFile(join(mirror, '2024/07/SHA256SUMS'), 'utf8')
    await writeFile(join(mirror, '2024/07/SHA256SUMS'), sums.slice(0, -10))
    await writeFile(join(mirror, '.iclood/incoming/0b9e7a52-6f3c-4d7e-9a51-2f4c8d1e3a70.part'), 'half')
    const { ino } = await stat(join(mirror, '2024/07/b.jpg'))
    await start().until('ok')
    expect((await stat(join(mirror, '2024/07/b.jpg'))).ino).toBe(ino)
    expect(await readFile(join(mirror, '2024/07/SHA256SUMS'), 'utf8')).toBe(sums)
    expect(await stagedIn(mirror)).toEqual([])
    expect(await home.copies()).toEqual(paths)
  })

  it('has what the library has lost read back when it comes', async () => {
    const path = await home.put('2024/07/a.jpg', noise(100, 'a'))
    await start().until('ok')
    await running?.stop()
    await sql`update copies set wanted_since = now(), lost_at = now() where place = 0 and path = ${path}`.execute(
      home.db,
    )
    const suspects: LibraryPath[] = []
    start({
      suspect: async (suspect) => {
        suspects.push(suspect)
      },
    })
    await until('it has said so', async () => suspects.length > 0)
    expect(suspects).toEqual([path])
  })

  it('gives way to uploads, but not for ever', async () => {
    await home.put('2024/07/a.jpg', noise(100, 'a'))
    let asked = 0
    start({
      isBusy: () => {
        asked++
        return true
      },
    })
    await running?.until('ok')
    expect(asked).toBeGreaterThan(10)
  })
})
