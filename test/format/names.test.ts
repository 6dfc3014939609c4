import { describe, expect, it } from 'vitest'
import { isSumsName, nameKey, numberedName, safeName, splitName } from '../../src/format/names.ts'
import { fc } from '../support/property.ts'
import { rounds } from '../support/rounds.ts'

const FALLBACK = 'photo.jpg'
const RESERVED = /^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])$/i

/** Names as hostile as they come: pieces that matter somewhere, and whatever Unicode there is. */
const piece = fc.oneof(
  fc.constantFrom(
    '.',
    ' ',
    '..',
    '/',
    '\\',
    ':',
    '*',
    '?',
    '"',
    '<',
    '>',
    '|',
    '\0',
    '\n',
    '\x7f',
    '\x85',
    '\u2028',
    '~',
    '$',
  ),
  fc.constantFrom('CON', 'nul', 'Lpt1', 'COM¹', 'aux', '.iclood', 'IMG_0001', '.HEIC', '.jpg', ' (2)', '.tar.gz'),
  fc.constantFrom(
    'e\u0301',
    '\u00e9',
    '👨‍👩‍👧‍👦',
    '\u0301',
    '\ud800',
    '\udc00',
    'ß',
    'ﬁ',
    'İ',
    '\u200d',
    '\ufeff',
    '가',
    '\uffff',
  ),
  fc.string({ unit: 'grapheme' }),
  fc.string({ unit: 'binary' }),
)
const hostile = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''))
/** Around and beyond the 255 bytes that a name may have. */
const long = fc
  .tuple(fc.constantFrom('a', 'é', '猫', '👨‍👩‍👧‍👦', 'e\u0301', '. ', 'x.'), fc.integer({ min: 1, max: 300 }), hostile)
  .map(([letter, times, tail]) => letter.repeat(times) + tail)
const name = fc.oneof(hostile, long)

/** What no drive and no computer of a household may be unable to hold. */
function expectSafe(safe: string) {
  expect(safe).not.toBe('')
  expect(Buffer.byteLength(safe)).toBeLessThanOrEqual(255)
  expect(safe.isWellFormed()).toBe(true)
  expect(safe).toBe(safe.normalize('NFC'))
  expect(safe).not.toMatch(/[/\\:*?"<>|]/)
  expect(safe).not.toMatch(/(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
  expect(safe).not.toMatch(/^\./)
  expect(safe).not.toMatch(/[. ]$/)
  expect(safe.split('.', 1)[0]?.trimEnd()).not.toMatch(RESERVED)
}

describe('a safe name', () => {
  it('is one on every drive, whatever it is made from, and with any number', () => {
    fc.assert(
      fc.property(name, fc.integer({ min: 1, max: 100_000 }), (raw, number) => {
        const safe = safeName(raw, FALLBACK)
        expectSafe(safe)
        expectSafe(numberedName(safe, number))
      }),
      { numRuns: rounds(3000) },
    )
  })

  it('stays as it is when it is made safe again, with any number', () => {
    fc.assert(
      fc.property(name, fc.integer({ min: 1, max: 100_000 }), (raw, number) => {
        const numbered = numberedName(safeName(raw, FALLBACK), number)
        expect(safeName(numbered, 'x')).toBe(numbered)
      }),
      { numRuns: rounds(3000) },
    )
  })

  it('keeps an ordinary extension, however long the name before it', () => {
    fc.assert(
      fc.property(
        name.filter((raw) => /^[^./\\\s]/.test(raw)),
        fc.constantFrom('.HEIC', '.jpg', '.MOV', '.dng'),
        fc.integer({ min: 1, max: 9999 }),
        (raw, extension, number) => {
          const safe = safeName(`${raw.replaceAll(/[/\\]/g, '')}${extension}`, FALLBACK)
          expect(splitName(safe).extension).toBe(extension)
          expect(splitName(numberedName(safe, number)).extension).toBe(extension)
        },
      ),
    )
  })

  it('is the name itself where that is safe already', () => {
    for (const good of [
      'IMG_0001.HEIC',
      '照片 1.JPG',
      'a.b.c.jpg',
      'no extension',
      ' leading.jpg',
      'CONFIG.SYS',
      'Caf\u00e9 ☀️.png',
    ])
      expect(safeName(good, FALLBACK)).toBe(good)
  })

  it.each([
    ['', FALLBACK],
    ['.', FALLBACK],
    ['..', FALLBACK],
    ['...   ', FALLBACK],
    ['a/b\\', FALLBACK],
    ['.jpg', 'jpg'],
    ['con', '_con'],
    ['CON .txt', '_CON .txt'],
    ['nul.tar.gz', '_nul.tar.gz'],
    ['COM¹.jpg', '_COM¹.jpg'],
    ['console.jpg', 'console.jpg'],
    ['a\u0000b\u009f.jpg', 'a_b_.jpg'],
    ['a/../b.jpg', 'b.jpg'],
    ['x\ud800.jpg', 'x\ufffd.jpg'],
    ['e\u0301.jpg', '\u00e9.jpg'],
  ])('of %j is %j', (raw, expected) => {
    expect(safeName(raw, FALLBACK)).toBe(expected)
  })

  it.each([
    ['IMG\u202eGPJ.jpg', 'IMG_GPJ.jpg'],
    ['\u2066a\u2069\u200e\u061c.jpg', '_a___.jpg'],
    ['a\u200b\ufeff\u00ad.jpg', 'a___.jpg'],
    ['می\u200cخواهم.jpg', 'می\u200cخواهم.jpg'],
  ])('of %j has what only changes how the rest is shown as _: %j', (raw, safe) => {
    expect(safeName(raw, FALLBACK)).toBe(safe)
  })

  it('is no device’s name when only that is left of a long one', () => {
    const safe = safeName(`con${' '.repeat(250)}x.jpg`, FALLBACK)
    expect(safe).toBe('_con.jpg')
    expect(safeName(safe, FALLBACK)).toBe(safe)
  })

  it('is cut between letters, not within one', () => {
    const family = '👨‍👩‍👧‍👦'
    const { stem } = splitName(safeName(`${family.repeat(30)}.jpg`, FALLBACK))
    expect(stem).toBe(family.repeat(Math.floor(251 / Buffer.byteLength(family))))
  })
})

describe('numbered names', () => {
  it('of one name are all different, to drives that ignore case and Unicode form, too', () => {
    fc.assert(
      fc.property(name, fc.uniqueArray(fc.integer({ min: 1, max: 2000 }), { maxLength: 20 }), (raw, numbers) => {
        const safe = safeName(raw, FALLBACK)
        const keys = numbers.map((number) => nameKey(numberedName(safe, number)))
        expect(new Set(keys).size).toBe(numbers.length)
      }),
    )
  })

  it('have the number before the extension, and the first has none', () => {
    expect([1, 2, 3].map((number) => numberedName('IMG.JPG', number))).toEqual([
      'IMG.JPG',
      'IMG (2).JPG',
      'IMG (3).JPG',
    ])
    expect(numberedName('no extension', 2)).toBe('no extension (2)')
    expect(numberedName('a.tar.gz', 2)).toBe('a.tar (2).gz')
  })
})

describe('the key of a name', () => {
  it('does not change with case or Unicode form', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        for (const other of [text.normalize('NFC'), text.normalize('NFD'), text.toUpperCase(), text.toLowerCase()])
          expect(nameKey(other)).toBe(nameKey(text))
      }),
      { numRuns: rounds(2000) },
    )
  })

  it('tells different names apart', () => {
    const names = ['a.jpg', 'b.jpg', 'a.jpeg', 'a (2).jpg', 'á.jpg', 'a .jpg', '照.jpg', '片.jpg']
    expect(new Set(names.map(nameKey)).size).toBe(names.length)
  })
})

describe('a name is split', () => {
  it.each([
    ['IMG_0042.HEIC', 'IMG_0042', '.HEIC'],
    ['a.b.jpg', 'a.b', '.jpg'],
    ['none', 'none', ''],
    ['.hidden', '.hidden', ''],
    [`x.${'y'.repeat(31)}`, 'x', `.${'y'.repeat(31)}`],
    [`x.${'y'.repeat(32)}`, `x.${'y'.repeat(32)}`, ''],
  ])('%s into %s and %s', (whole, stem, extension) => {
    expect(splitName(whole)).toEqual({ stem, extension })
  })
})

describe('the name SHA256SUMS', () => {
  it.each(['SHA256SUMS', 'sha256sums', 'Sha256Sums', 'SHA256\u200bSUMS', 'ſHA256SUMS'])(
    'is known in what some drive takes for the same: %j',
    (name) => {
      expect(isSumsName(name)).toBe(true)
    },
  )

  it.each(['SHA256SUMS.JPG', 'SHA256SUMS (2)', 'SHA1SUMS', '_SHA256SUMS'])('is not %s', (name) => {
    expect(isSumsName(name)).toBe(false)
  })
})
