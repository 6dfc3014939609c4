import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { printable, printableJson, quoted, shown } from '../../src/base/shown.ts'
import { fc } from '../support/property.ts'

const UNSHOWN = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u

const hostile = fc
  .array(
    fc.oneof(
      fc.constantFrom('\u001b[2J', '\u001b]0;x\u0007', '\u009b31m', '\r', '\n', '\u202e', '\u2066', '\u200f', '\u061c'),
      fc.constantFrom(
        '\u200b',
        '\u200d',
        '\ufeff',
        '\u00ad',
        '\u{e0041}',
        '\u2028',
        '\ud800',
        '[x](http://a.b)',
        '@all',
        '”',
      ),
      fc.string({ unit: 'grapheme' }),
      fc.string({ unit: 'binary' }),
    ),
  )
  .map((pieces) => pieces.join(''))

describe('what others wrote', () => {
  it.each([
    ['a\u202egpj.exe', 'agpj.exe', 'a\\u202egpj.exe'],
    ['\u001b[2J x', '[2J x', '\\u001b[2J x'],
    ['two\nlines', 'two lines', 'two\\u000alines'],
    ['tag \u{e0041}', 'tag', 'tag \\u{e0041}'],
    ['Müllers iPhone 📱', 'Müllers iPhone 📱', 'Müllers iPhone 📱'],
  ])('%j is shown as %j, and on a terminal as %j', (text, expectedShown, expectedPrinted) => {
    expect(shown(text)).toBe(expectedShown)
    expect(printable(text)).toBe(expectedPrinted)
  })

  it('never does anything to a terminal, and printing what is printable changes nothing', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        expect(shown(text)).not.toMatch(UNSHOWN)
        expect(printable(text)).not.toMatch(UNSHOWN)
        expect(printable(printable(text))).toBe(printable(text))
      }),
    )
  })

  it('is the same in JSON that a terminal may print', () => {
    fc.assert(
      fc.property(fc.dictionary(hostile, hostile), (value) => {
        const json = printableJson(JSON.stringify(value))
        expect(json).not.toMatch(UNSHOWN)
        expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
  })

  it.each([
    ['iPhone 15 Pro', '"iPhone 15 Pro"'],
    ['Anna’s iPhone (2)', '"Anna’s iPhone (2)"'],
    ['照片 👨‍👩‍👧 📱', '"照片 👨‍👩‍👧 📱"'],
    ['[Your photos are gone](https://evil.example/login)', '"Your photos are gone (https evil. examp…"'],
    ['<!channel> **bold** `code` @everyone', '"channel bold code everyone"'],
    ['x” has been solved. “y', '"x has been solved. y"'],
    ['a\n\nSolved: all is well', '"a Solved all is well"'],
    ['a'.repeat(300), `"${'a'.repeat(39)}…"`],
    ['\u202e\u0007', '""'],
  ])('%j in a sentence is %s', (name, expected) => {
    expect(quoted(name)).toBe(expected)
  })

  it('in a sentence stays short, in one pair of quotes, in one line, and is no markup or link', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        const name = quoted(text)
        expect([...name].length).toBeLessThanOrEqual(42)
        expect(name.slice(1, -1)).not.toMatch(/[“”"*`~<>[\]{}|\\#@:/]|\.[\p{L}\p{N}]/u)
        expect(name).not.toMatch(UNSHOWN)
      }),
    )
  })
})

it('nothing is printed but through print.ts, the log and the line that is drawn anew', () => {
  const root = fileURLToPath(new URL('../../src', import.meta.url))
  const printing = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .filter((name) =>
      /\bconsole\.|std(out|err)\.write\(|\bpino\.destination|\bpino\(/.test(readFileSync(join(root, name), 'utf8')),
    )
  expect(printing.sort()).toEqual(['base/log.ts', 'base/print.ts'])
})
