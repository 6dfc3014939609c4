import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { monthFolder, pathIn } from '../../src/format/layout.ts'
import { Committer } from '../../src/storage/commit.ts'
import type { Drive } from '../../src/storage/drive.ts'
import { Root } from '../../src/storage/entry.ts'
import { FolderNames } from '../../src/storage/folder-names.ts'
import { FolderSync } from '../../src/storage/folder-sync.ts'
import { ELSEWHERE } from '../../src/storage/touched.ts'
import { drive as driveNeeds, type FileSystem, makeDrive, type TestDrive } from '../support/drives.ts'
import { openLibrary } from '../support/library.ts'
import { needs } from '../support/needs.ts'

const JULY = monthFolder(2024, 7)

describe.each<FileSystem>(['tmpfs', 'exfat'])('on %s', (kind) => {
  const have = needs(driveNeeds(kind))
  let disk: TestDrive
  let drive: Drive
  let committer: Committer
  beforeEach(async () => {
    if (have.skip) return
    disk = await makeDrive(kind, 16 * 1024 * 1024)
    drive = (await openLibrary(disk.path)).drive
    committer = new Committer(drive)
  })
  afterEach(() => disk?.remove())

  const stage = async (text: string) => {
    const path = `.iclood/incoming/${text}.part`
    await writeFile(drive.resolve(path), text)
    return path
  }
  const commit = async (text: string, name: string) => {
    await committer.makeFolder(JULY)
    await committer.takeName(await stage(text), pathIn(JULY, name))
    await committer.settle(pathIn(JULY, name))
  }

  it('a name that is taken is never overwritten', have, async () => {
    await commit('first', 'a.jpg')
    await expect(commit('second', 'a.jpg')).rejects.toMatchObject({ code: 'name_taken' })
    expect(await readFile(join(disk.path, '2024/07/a.jpg'), 'utf8')).toBe('first')
  })

  it('a folder that somebody removed is made again', have, async () => {
    await commit('first', 'a.jpg')
    await rm(join(disk.path, '2024'), { recursive: true })
    await commit('second', 'b.jpg')
    expect(await readdir(join(disk.path, '2024/07'))).toEqual(['b.jpg'])
  })

  it('without its drive nothing is made under the mount point', have, async () => {
    await commit('first', 'a.jpg')
    const staged = await stage('second')
    await disk.detach()
    await expect(committer.makeFolder(monthFolder(2024, 8))).rejects.toMatchObject({ code: 'drive_missing' })
    await expect(committer.takeName(staged, pathIn(JULY, 'b.jpg'))).rejects.toMatchObject({
      code: expect.stringMatching(/^drive_/),
    })
    expect(await readdir(disk.path)).toEqual([])
  })

  it('what others write is seen, in any case and Unicode form', have, async () => {
    const names = new FolderNames(drive, async () => ['Gone.jpg'])
    await mkdir(join(disk.path, JULY), { recursive: true })
    expect(await names.firstFree(JULY, 'a.jpg')).toBe('a.jpg')
    await writeFile(join(disk.path, JULY, 'A.JPG'), '')
    await writeFile(join(disk.path, JULY, 'cafe\u0301.jpg'), '')
    names.forget()
    expect(await names.firstFree(JULY, 'a.jpg')).toBe('a (2).jpg')
    expect(await names.strangers(JULY)).toContain('A.JPG')
    expect(await names.firstFree(JULY, 'CAFÉ.JPG')).toBe('CAFÉ (2).JPG')
    expect(await names.firstFree(JULY, 'gone.JPG')).toBe('gone (2).JPG')
  })

  it(
    'the name of SHA256SUMS is nobody’s, whether there is one or not, and who has it is no stranger',
    have,
    async () => {
      const names = new FolderNames(drive, async () => [])
      await mkdir(join(disk.path, JULY), { recursive: true })
      for (const name of ['SHA256SUMS', 'sha256sums']) {
        expect(await names.firstFree(JULY, name)).toBe(`${name} (2)`)
        expect(await names.isFree(JULY, name)).toBe(false)
      }
      await writeFile(join(disk.path, JULY, 'SHA256SUMS'), '')
      names.forget()
      expect(await names.firstFree(JULY, 'Sha256Sums')).toBe('Sha256Sums (2)')
      expect(await names.firstFree(JULY, 'a.jpg')).toBe('a.jpg')
      expect(await names.strangers(JULY)).toEqual([])
    },
  )

  it('a file that is no original is replaced as a whole', have, async () => {
    await committer.makeFolder(JULY)
    for (const text of ['first', 'second']) {
      await committer.replace(await stage(text), pathIn(JULY, 'SHA256SUMS'))
      expect(await readFile(join(disk.path, '2024/07/SHA256SUMS'), 'utf8')).toBe(text)
    }
    expect(await readdir(join(disk.path, '.iclood/incoming'))).toEqual([])
  })

  it(
    'names that a failed flush may have dropped are in doubt for good, those that came later are not',
    have,
    async () => {
      const broken = join(disk.path, 'broken')
      let flushes = 0
      const sync = new FolderSync(async (folder) => {
        flushes++
        if (folder === broken && flushes === 1) throw Object.assign(new Error('EIO'), { code: 'EIO', syscall: 'fsync' })
        await ELSEWHERE.syncFolder(new Root(folder).at(''))
      })
      const refused = { status: 'rejected', reason: { code: 'drive_error' } }
      const first = await Promise.allSettled([sync.sync(broken, 0), sync.sync(broken, 0), sync.sync(broken, 0)])
      await mkdir(broken)
      const later = await Promise.allSettled([sync.sync(broken, 0)])
      for (const each of [...first, ...later]) expect(each).toMatchObject(refused)
      expect(flushes).toBe(1)
      expect(sync.failures(broken)).toBe(1)
      await sync.sync(broken, sync.failures(broken))

      const missing = join(disk.path, 'missing')
      expect((await Promise.allSettled([sync.sync(missing, 0)]))[0]).toMatchObject(refused)
      await mkdir(missing)
      await Promise.all([sync.sync(missing, 0), sync.sync(missing, 0), sync.sync(missing, 0)])
    },
  )
})
