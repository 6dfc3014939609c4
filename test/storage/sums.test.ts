import { createHash } from 'node:crypto'
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { monthFolder } from '../../src/format/layout.ts'
import type { Checksum } from '../../src/media/checksum.ts'
import { Committer } from '../../src/storage/commit.ts'
import type { Drive } from '../../src/storage/drive.ts'
import { io } from '../../src/storage/io.ts'
import { SumsFiles } from '../../src/storage/sums.ts'
import { summedIn } from '../support/journal.ts'
import { openLibrary } from '../support/library.ts'

const JULY = monthFolder(2024, 7)

let root: string
let drive: Drive
let files: SumsFiles
let folder: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'iclood-sums-'))
  drive = (await openLibrary(root)).drive
  files = newFiles()
  folder = join(root, JULY)
  await mkdir(folder, { recursive: true })
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(root, { recursive: true })
})

const newFiles = () => new SumsFiles(drive, new Committer(drive), () => new Date(0))
const sumOf = (text: string) => createHash('sha256').update(text).digest('hex') as Checksum
const sums = (...names: readonly string[]) => new Map(names.map((name) => [name, sumOf(name)]))
const lines = (...names: readonly string[]) => names.map((name) => `${sumOf(name)}  ${name}\n`).join('')
const text = () => readFile(join(folder, 'SHA256SUMS'), 'utf8')

describe('the SHA256SUMS of a folder', () => {
  it('is made from what the catalogue has, in order, and is added to by appending', async () => {
    await files.repair(JULY, sums('b', 'a'))
    expect(await text()).toBe(lines('a', 'b'))
    const { ino } = await stat(join(folder, 'SHA256SUMS'))
    expect(await files.add(JULY, sums('aa', 'b'))).toBe(true)
    expect(await files.add(JULY, sums('d', 'a'))).toBe(true)
    expect(await text()).toBe(lines('a', 'b', 'aa', 'd'))
    expect((await stat(join(folder, 'SHA256SUMS'))).ino).toBe(ino)
    expect(await readdir(join(root, '.iclood/incoming'))).toEqual([])
  })

  it('is not added to before it is known to be right, nor after somebody else has written to it', async () => {
    await writeFile(join(folder, 'SHA256SUMS'), lines('a'))
    expect(await files.add(JULY, sums('b'))).toBe(false)
    await files.repair(JULY, sums('a'))
    expect(await files.add(JULY, sums('b'))).toBe(true)
    await appendFile(join(folder, 'SHA256SUMS'), 'torn')
    expect(await files.add(JULY, sums('c'))).toBe(false)
    expect(await text()).toBe(`${lines('a', 'b')}torn`)
  })

  it('is not added to if it says something else', async () => {
    await files.repair(JULY, sums('a'))
    expect(await files.add(JULY, new Map([['a', sumOf('another')]]))).toBe(false)
    expect(await text()).toBe(lines('a'))
  })

  it('is not written if it is right', async () => {
    await files.repair(JULY, sums('a', 'b'))
    await files.add(JULY, sums('0'))
    const before = await stat(join(folder, 'SHA256SUMS'), { bigint: true })
    await newFiles().repair(JULY, sums('0', 'a', 'b'))
    const after = await stat(join(folder, 'SHA256SUMS'), { bigint: true })
    expect([after.ino, after.mtimeNs]).toEqual([before.ino, before.mtimeNs])
  })

  it.each([
    ['is torn', lines('a', 'b').slice(0, -20)],
    ['is empty', ''],
    ['holds zeros', `${lines('a')}${'\0'.repeat(66)}`],
    ['lacks a line', lines('a')],
    ['contradicts', `${lines('a')}${sumOf('x')}  b\n`],
    ['has a line twice', lines('a', 'b', 'a')],
  ])('is replaced when it %s', async (_, found) => {
    await writeFile(join(folder, 'SHA256SUMS'), found)
    await files.repair(JULY, sums('a', 'b'))
    expect(await text()).toBe(lines('a', 'b'))
    expect(await files.add(JULY, sums('c'))).toBe(true)
    expect(await text()).toBe(lines('a', 'b', 'c'))
  })

  it('keeps the lines of other files while those are there, and of originals that have not been read', async () => {
    await writeFile(join(folder, 'there.jpg'), 'there.jpg')
    await writeFile(join(folder, 'unread.jpg'), 'unread.jpg')
    await writeFile(join(folder, 'SHA256SUMS'), lines('a', 'gone.jpg', 'there.jpg', 'unread.jpg'))
    await files.repair(JULY, new Map([...sums('a', 'b'), ['unread.jpg', null] as const]))
    expect(await text()).toBe(lines('a', 'b', 'there.jpg', 'unread.jpg'))
  })

  it('is written anew when the drive can’t read it any more, and what is left of it is kept', async () => {
    await writeFile(join(folder, 'SHA256SUMS'), lines('a'))
    await writeFile(join(folder, 'a'), '')
    const fail = () => {
      vi.spyOn(io, 'read').mockImplementationOnce(async () => {
        throw Object.assign(new Error('EIO'), { code: 'EIO', syscall: 'read' })
      })
    }
    fail()
    await expect(files.repair(JULY, new Map([...sums('b'), ['a', null]]))).rejects.toMatchObject({
      code: 'drive_error',
    })
    expect(await text()).toBe(lines('a'))
    fail()
    await files.repair(JULY, sums('a', 'b'))
    expect(await text()).toBe(lines('a', 'b'))
    const place = join(root, '.iclood/quarantine', JULY, 'SHA256SUMS.19700101T000000Z')
    expect(await readFile(place, 'utf8')).toBe(lines('a'))
    expect(await files.add(JULY, sums('c'))).toBe(true)
  })

  it('keeps the lines of originals that are missing', async () => {
    await files.repair(JULY, sums('a', 'missing'))
    await newFiles().repair(JULY, sums('a', 'missing'))
    expect(await summedIn(folder)).toEqual(['a', 'missing'])
  })

  it('is not there without a line to be in it, nor in a folder that is not there', async () => {
    await files.repair(JULY, new Map())
    await files.repair(JULY, sums('a'))
    await files.repair(JULY, new Map())
    expect(await readdir(folder)).toEqual([])
    const august = monthFolder(2024, 8)
    await files.repair(august, sums('a'))
    expect(await files.add(august, sums('a'))).toBe(false)
    expect(await readdir(join(root, '2024'))).toEqual(['07'])
  })

  it.each(['SHA256SUMS', 'sha256sums', 'Sha256Sums'])('is not written where an original is called %s', async (name) => {
    await writeFile(join(folder, name), lines('a'))
    await files.repair(JULY, new Map([...sums('a', 'b'), [name, null] as const]))
    expect(await files.add(JULY, sums('b'))).toBe(false)
    await files.repair(JULY, sums('a', 'b', name))
    expect(await readFile(join(folder, name), 'utf8')).toBe(lines('a'))
    expect(await readdir(folder)).toEqual([name])
  })

  it.each([
    ['openOwn', 'add'],
    ['writev', 'add'],
    ['datasync', 'add'],
    ['close', 'add'],
    ['open', 'repair'],
    ['writev', 'repair'],
    ['datasync', 'repair'],
    ['close', 'repair'],
    ['rename', 'repair'],
  ] as const)('is whole again after %s has failed while it was being written (%s)', async (call, method) => {
    await files.repair(JULY, sums('a'))
    vi.spyOn(io, call).mockImplementationOnce(async () => {
      throw Object.assign(new Error('EIO'), { code: 'EIO', syscall: call })
    })
    await expect(files[method](JULY, sums('a', 'b'))).rejects.toMatchObject({ code: 'drive_error' })
    expect(await files.add(JULY, sums('b'))).toBe(false)
    await files.repair(JULY, sums('a', 'b'))
    expect(await text()).toBe(lines('a', 'b'))
    expect(await readdir(join(root, '.iclood/incoming'))).toEqual([])
  })

  it('is repaired after only a part of a line could be written', async () => {
    const { writev } = io
    await files.repair(JULY, sums('a'))
    vi.spyOn(io, 'writev')
      .mockImplementationOnce((file, [chunk], position) => writev(file, [(chunk as Buffer).subarray(0, 10)], position))
      .mockImplementationOnce(async () => {
        throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', syscall: 'write' })
      })
    await expect(files.add(JULY, sums('b'))).rejects.toMatchObject({ code: 'disk_full' })
    expect(await text()).toBe(`${lines('a')}${sumOf('b').slice(0, 10)}`)
    expect(await files.add(JULY, sums('b'))).toBe(false)
    await files.repair(JULY, sums('a', 'b'))
    expect(await text()).toBe(lines('a', 'b'))
  })

  it('is not written while the drive is away', async () => {
    await files.repair(JULY, sums('a'))
    await rm(join(root, '.iclood/library.json'))
    await expect(files.add(JULY, sums('b'))).rejects.toMatchObject({ code: 'drive_missing' })
    await expect(files.repair(JULY, sums('b'))).rejects.toMatchObject({ code: 'drive_missing' })
    expect(await text()).toBe(lines('a'))
  })

  it('is kept in mind for the folder used last, however many names it has', async () => {
    const many = new Map(Array.from({ length: 60_000 }, (_, number) => [`${number}`, sumOf('x')]))
    await files.repair(JULY, many)
    expect(await files.add(JULY, sums('new'))).toBe(true)
    await mkdir(join(root, '2024/08'))
    await files.repair(monthFolder(2024, 8), sums('a'))
    expect(await files.add(JULY, sums('newer'))).toBe(false)
    expect(await files.add(monthFolder(2024, 8), sums('b'))).toBe(true)
  })
})
