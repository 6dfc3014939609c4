import { expect, it } from 'vitest'
import { ASSETS_OF_A_PATH } from '../../../src/base/budgets.ts'
import type { OfferedFile } from '../../../src/catalogue/offered.ts'
import { distinctFiles } from '../../../src/http/lists/distinct-files.ts'

const file = (given: Partial<OfferedFile> = {}): OfferedFile => ({
  path: '/DCIM/IMG_1.JPG',
  id: null,
  name: 'IMG_1.JPG',
  kind: 'photo',
  size: 1,
  created: 2,
  modified: 3,
  checksum: null,
  ...given,
})
const distinct = (files: OfferedFile[]) => {
  const { positions, excess } = distinctFiles(
    files,
    files.map((_, index) => index),
  )
  return { positions, excess }
}

it('a list without repetitions stays as it is', () => {
  const files = [file(), file({ path: '/DCIM/IMG_2.JPG' })]
  const positions = [3, 7]
  const { files: same, ...rest } = distinctFiles(files, positions)
  expect(same).toBe(files)
  expect(rest).toEqual({ positions, excess: [] })
})

it.each<[string, Partial<OfferedFile>, boolean]>([
  ['nothing', {}, true],
  ['name and kind', { name: 'other', kind: 'video' }, true],
  ['the id', { id: 'A' }, false],
  ['the size', { size: 9 }, false],
  ['the date', { created: 9 }, false],
  ['the change', { modified: 9 }, false],
])('two entries of one path that differ in %s are one file: %s', (_, other, isOne) => {
  expect(distinct([file(), file(other)]).positions).toEqual(isOne ? [[0, 1]] : [0, 1])
})

it('what follows the path in newer versions of iOS does not tell files apart', () => {
  const path = 'file:///var/mobile/IMG_1.JPG'
  expect(distinct([file({ path: `${path}#a` }), file({ path: `${path}#b` }), file({ path })]).positions).toEqual([
    [0, 1, 2],
  ])
  expect(distinct([file({ path: '/IMG_1.JPG#a' }), file({ path: '/IMG_1.JPG#b' })]).positions).toEqual([0, 1])
})

it.each<[string, (n: number) => Partial<OfferedFile>]>([
  ['one path', (n) => ({ id: `${n}` })],
  ['one exported asset', (n) => ({ id: 'A/L0/001', path: `/Containers/${n}.MOV` })],
])('of %s a list may have as many different files as the bound says, not one more', (_, given) => {
  const files = Array.from({ length: ASSETS_OF_A_PATH + 1 }, (_, n) => file(given(n)))
  expect(distinct(files.slice(1)).excess).toEqual([])
  const { positions, excess } = distinct([...files, file(given(0)), file({ path: '/another' })])
  expect(positions).toHaveLength(ASSETS_OF_A_PATH + 1)
  expect(positions[0]).toEqual([0, ASSETS_OF_A_PATH + 1])
  expect(excess).toEqual([ASSETS_OF_A_PATH])
})

it('a list of two hundred thousand equal paths is no more work than one of different ones', () => {
  const files = Array.from({ length: 200_000 }, (_, n) => file({ id: `${n % 100_000}` }))
  const { positions, excess } = distinct(files)
  expect(positions).toHaveLength(ASSETS_OF_A_PATH)
  expect(excess).toHaveLength(200_000 - 2 * ASSETS_OF_A_PATH)
})
