import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { formatSum } from '../../src/format/sums-format.ts'
import type { Checksum } from '../../src/media/checksum.ts'
import { sha256sum } from '../support/journal.ts'
import { command, needs } from '../support/needs.ts'
import { fc } from '../support/property.ts'
import { parseSums } from '../support/sums.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'iclood-sums-'))
})
afterAll(() => rm(folder, { recursive: true }))

const checksumOf = (text: string) => createHash('sha256').update(text).digest('hex') as Checksum

const NAMES = [
  'IMG_0042.HEIC',
  'a b.jpg',
  ' leading and trailing ',
  'back\\slash.jpg',
  'line\nfeed.jpg',
  '\\n.jpg',
  'both\\\n\\\\n.jpg',
  'Ostern ❤️ Köln.jpg',
  'Ko\u0308ln.jpg',
  '-c',
  '*star.jpg',
  'quo"te\'s.jpg',
  `${checksumOf('x')}  fake.jpg`,
  '\\',
]

describe('a SHA256SUMS', () => {
  it(
    'is what sha256sum writes, and what it accepts, whatever the names',
    needs(command('sha256sum', 'coreutils')),
    async () => {
      for (const name of NAMES) await writeFile(join(folder, name), name)
      const text = NAMES.map((name) => formatSum(name, checksumOf(name))).join('')
      const theirs = spawnSync('sha256sum', ['--', ...NAMES], { cwd: folder, encoding: 'utf8' })
      expect(theirs.stdout).toBe(text)
      await writeFile(join(folder, 'SHA256SUMS'), text)
      const { code, output } = await sha256sum(folder)
      expect(output.split('\n').filter((line) => line.endsWith(': OK'))).toHaveLength(NAMES.length)
      expect(code).toBe(0)
      await writeFile(join(folder, NAMES[0] ?? ''), 'another content')
      expect((await sha256sum(folder)).code).toBe(1)
      expect(parseSums(await readFile(join(folder, 'SHA256SUMS'), 'utf8'))).toEqual({
        sums: new Map(NAMES.map((name) => [name, checksumOf(name)])),
        isClean: true,
      })
    },
  )

  it('reads as it was written, whatever the names', () => {
    const anyName = fc.string({ unit: 'binary', minLength: 1 }).filter((name) => !name.includes('\0'))
    fc.assert(
      fc.property(fc.uniqueArray(anyName.map((name) => name.toWellFormed())), (names) => {
        const sums = new Map(names.map((name) => [name, checksumOf(name)]))
        const text = [...sums].map(([name, sum]) => formatSum(name, sum)).join('')
        expect(text.split('\n')).toHaveLength(names.length + 1)
        expect(parseSums(text)).toEqual({ sums, isClean: true })
      }),
    )
  })

  it('reads what other programs write: marks of binary files, digits in upper case', () => {
    const sum = checksumOf('a')
    expect(parseSums(`${sum.toUpperCase()} *a.jpg\n`)).toEqual({ sums: new Map([['a.jpg', sum]]), isClean: true })
  })

  it.each([
    ['a torn line', `${checksumOf('b')}  b.jp`],
    ['a torn checksum', checksumOf('b').slice(0, 40)],
    ['an empty line', '\n'],
    ['zeros', '\0\0\0\0'],
    ['a line that is none', 'hello\n'],
    ['a wrong escape', `\\${checksumOf('b')}  b\\t.jpg\n`],
    ['two lines of one name', `${checksumOf('a')}  a.jpg\n`],
  ])('with %s is not clean, and the other lines are read', (_, tail) => {
    const { sums, isClean } = parseSums(`${checksumOf('a')}  a.jpg\n${tail}`)
    expect(isClean).toBe(false)
    expect(sums).toEqual(new Map([['a.jpg', checksumOf('a')]]))
  })
})
