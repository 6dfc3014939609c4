import { expect, it } from 'vitest'
import { formatSum } from '../../src/format/sums-format.ts'
import type { Checksum } from '../../src/media/checksum.ts'
import { compareSums } from '../../src/verify/compare-sums.ts'
import { parseSums } from '../support/sums.ts'

const [A, B, C] = ['a', 'b', 'c'].map((digit) => digit.repeat(64) as Checksum) as [Checksum, Checksum, Checksum]
const original = (name: string, checksum: Checksum | null, isLost = false) => ({ name, checksum, isLost })
const compare = (text: string | undefined, originals: Parameters<typeof compareSums>[1], present: string[] = []) =>
  compareSums(text === undefined ? undefined : parseSums(text), originals, present)

it('says nothing where they agree, in any order and in any Unicode form of a name that is there', () => {
  const text = formatSum('b.jpg', B) + formatSum('a\n.jpg', A) + formatSum('Bücher.pdf', C)
  expect(compare(text, [original('a\n.jpg', A), original('b.jpg', B)], ['Bücher.pdf'.normalize('NFD')])).toEqual([])
})

it('names a line that says something else', () => {
  expect(compare(formatSum('a.jpg', B), [original('a.jpg', A)])).toEqual([{ name: 'a.jpg', expected: A, found: B }])
})

it('names an original without a line, unless it is lost or was never read', () => {
  const lacks = [{ name: 'a.jpg', expected: A, found: null }]
  expect(compare('', [original('a.jpg', A)])).toEqual(lacks)
  expect(compare(undefined, [original('a.jpg', A)])).toEqual(lacks)
  expect(compare('', [original('a.jpg', A, true)])).toEqual([])
  expect(compare('', [original('a.jpg', null)])).toEqual([])
})

it('names a line about a file that is neither known nor there', () => {
  expect(compare(formatSum('gone.jpg', A), [])).toEqual([{ name: 'gone.jpg', expected: null, found: A }])
  expect(compare(formatSum('notes.txt', A), [], ['notes.txt'])).toEqual([])
})

it('names the file itself if it has a line that can’t be read', () => {
  expect(compare(`${formatSum('a.jpg', A)}torn`, [original('a.jpg', A)])).toEqual([
    { name: 'SHA256SUMS', expected: null, found: null },
  ])
})

it('of one that may not be written down yet, names only what says something else', () => {
  const originals = [original('a.jpg', A), original('b.jpg', B)]
  const sums = parseSums(formatSum('b.jpg', C) + formatSum('gone.jpg', C))
  expect(compareSums(sums, originals, [], true)).toEqual([{ name: 'b.jpg', expected: B, found: C }])
})
