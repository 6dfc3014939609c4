import { appendFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findFindings } from '../../src/catalogue/findings.ts'
import { compareFolders } from '../../src/mirror/compare-folders.ts'
import { createMirror, type Mirror } from '../../src/mirror/mirror.ts'
import { openMirrorDrive } from '../../src/mirror/status.ts'
import { noise } from '../support/media.ts'
import { type Mirrored, makeMirrored, startKeeper } from '../support/mirrored.ts'
import { makeFolder, removeFolder } from '../support/server.ts'
import { until } from '../support/until.ts'

let folder: string
let root: string
let sums: string
let home: Mirrored
let mirror: Mirror

beforeEach(async () => {
  folder = await makeFolder()
  root = join(folder, 'mirror')
  sums = join(root, '2024/07/SHA256SUMS')
  home = await makeMirrored(join(folder, 'library'))
  await home.put('2024/07/a.jpg', noise(100, 'a'))
  await home.put('2024/07/b.jpg', noise(100, 'b'))
  await home.put('2024/08/c.jpg', noise(100, 'c'))
  const keeper = startKeeper(home.library, root)
  await keeper.until('ok')
  await keeper.stop()
  const { place, drive } = await openMirrorDrive(home.library, root)
  mirror = createMirror(home.library, place, drive, 0)
})

afterEach(async () => {
  await home.close()
  await removeFolder(folder)
})

async function compare(options: Partial<Parameters<typeof compareFolders>[1]> = {}) {
  const ids = await compareFolders(mirror, {
    isWithin: () => true,
    isSelected: () => true,
    pause: async () => {},
    signal: new AbortController().signal,
    ...options,
  })
  return findFindings(home.db, ids)
}

/** What each of these months says on the mirror. */
async function sumsOf(months: readonly string[]): Promise<Record<string, string | undefined>> {
  const texts = months.map((month) => readFile(join(root, month, 'SHA256SUMS'), 'utf8').catch(() => undefined))
  const read = await Promise.all(texts)
  return Object.fromEntries(months.map((month, index) => [month, read[index]]))
}

describe('the folders of a second copy', () => {
  it('that are as they should be give no findings', async () => {
    expect(await compare()).toEqual([])
  })

  it('with a file that nobody knows give one, which is over when the file is gone', async () => {
    await writeFile(join(root, '2024/07/somebody’s.jpg'), 'a text')
    const [finding, ...others] = await compare()
    expect(others).toEqual([])
    expect(finding).toMatchObject({ copy: 'mirror', kind: 'unknown', path: '2024/07/somebody’s.jpg', healed_at: null })
    await compare({ isWithin: (month) => month === '2024/08' })
    expect(await findFindings(home.db, [finding?.id ?? 0])).toMatchObject([{ healed_at: null }])
    await rm(join(root, '2024/07/somebody’s.jpg'))
    expect(await compare()).toEqual([])
    expect(await findFindings(home.db, [finding?.id ?? 0])).toMatchObject([{ healed_at: expect.any(Date) }])
  })

  it('get a new SHA256SUMS where theirs lacks a line, is torn, disagrees, tells of what is nowhere, or is gone', async () => {
    const damages: Record<string, (text: string) => string | undefined> = {
      '2025/01': (text) => text.split('\n').slice(1).join('\n'),
      '2025/02': (text) => text.slice(0, -20),
      '2025/03': (text) => `${text[0] === '0' ? '1' : '0'}${text.slice(1)}`,
      '2025/04': (text) => `${text}${'0'.repeat(64)}  gone.jpg\n`,
      '2025/05': () => undefined,
    }
    for (const month of Object.keys(damages)) {
      await home.put(`${month}/a.jpg`, noise(100, `${month} a`))
      await home.put(`${month}/b.jpg`, noise(100, `${month} b`))
    }
    const keeper = startKeeper(home.library, root)
    await keeper.until('ok')
    await keeper.stop()
    const right = await sumsOf(Object.keys(damages))
    for (const [month, damage] of Object.entries(damages)) {
      const wrong = damage(right[month] ?? '')
      const path = join(root, month, 'SHA256SUMS')
      await (wrong === undefined ? rm(path) : writeFile(path, wrong))
    }
    const found = Object.keys(damages).map((month) => ({ copy: 'mirror', kind: 'sums', path: `${month}/SHA256SUMS` }))
    expect(await compare()).toMatchObject(found.map((one) => ({ ...one, healed_by: 'a new SHA256SUMS' })))
    expect(await sumsOf(Object.keys(damages))).toEqual(right)
    expect(await compare()).toEqual([])
  })

  it('are compared by the keeper when the drive comes', async () => {
    const right = await readFile(sums, 'utf8')
    await appendFile(sums, 'torn')
    const { stop } = startKeeper(home.library, root)
    await until('it is mended', async () => (await readFile(sums, 'utf8')) === right)
    await stop()
  })

  it('that have what is on its way to become a copy are as they should be', async () => {
    await mkdir(join(root, '2024/09'))
    await writeFile(join(root, '2024/09/next.jpg'), noise(100, 'next'))
    await writeFile(join(root, '2024/09/SHA256SUMS'), `${'0'.repeat(64)}  next.jpg\n`)
    await home.put('2024/09/next.jpg', noise(100, 'next'))
    expect(await compare()).toEqual([])
  })
})
