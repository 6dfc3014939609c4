import { describe, expect, it } from 'vitest'
import { AppError } from '../../src/errors.ts'
import { monthFolder, parseLibraryPath, pathIn, splitPath } from '../../src/format/layout.ts'
import { safeName } from '../../src/format/names.ts'
import { fc } from '../support/property.ts'

describe('a month’s folder', () => {
  it.each([
    [2024, 7, '2024/07'],
    [2024, 12, '2024/12'],
    [1826, 1, '1826/01'],
    [9999, 12, '9999/12'],
    [0, 1, '0000/01'],
  ])('of year %i and month %i is %s', (year, month, folder) => {
    expect(monthFolder(year, month)).toBe(folder)
  })

  it('and any safe name make a path within the library, which splits into them again', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.integer({ min: 1826, max: 9999 }),
        fc.integer({ min: 1, max: 12 }),
        (raw, year, month) => {
          const folder = monthFolder(year, month)
          const name = safeName(raw, 'photo.jpg')
          const path = pathIn(folder, name)
          expect(parseLibraryPath(path)).toBe(path)
          expect(splitPath(path)).toEqual({ folder, name })
        },
      ),
    )
  })
})

describe('a path that somebody wrote', () => {
  it.each(['2024/07/IMG_0042.HEIC', 'uploads/x.jpg', 'x.jpg', 'a/..b/c', '2024/07/.iclood', 'iclood/x'])(
    '%j is taken',
    (path) => {
      expect(parseLibraryPath(path)).toBe(path)
    },
  )

  it.each([
    '',
    '/etc/passwd',
    '../x',
    '2024/../../x',
    '2024/./x',
    '2024//x',
    '2024/',
    '.iclood/library.json',
    '.iclood',
    'a\0b',
  ])('%j is refused', (path) => {
    expect(() => parseLibraryPath(path)).toThrow(AppError)
  })
})

it('a path without a folder lies in the library itself', () => {
  expect(splitPath(parseLibraryPath('x.jpg'))).toEqual({ folder: '', name: 'x.jpg' })
})
