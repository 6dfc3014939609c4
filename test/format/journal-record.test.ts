import { expect, it } from 'vitest'
import { checker } from '../../src/base/checker.ts'
import { type BackupRecord, type JournalRecord, LINES } from '../../src/format/journal-record.ts'
import { anyBackup, backupRecord, ignoredRecord, originalFacts } from '../support/journal.ts'
import { fc } from '../support/property.ts'

const CHECKERS = {
  original: checker(LINES.original),
  backup: checker(LINES.backup),
  ignored: checker(LINES.ignored),
  removed: checker(LINES.removed),
}
const fine = backupRecord(1)
const original = originalFacts('2024/07/IMG.JPG', 1)
const isAcceptable = (record: JournalRecord) => CHECKERS[record.type].fits(record)
const withOriginal = (change: object): BackupRecord => ({ ...fine, original: { ...original, ...change } })

it('takes what a server writes, of assets of all kinds', () => {
  fc.assert(
    fc.property(anyBackup, (backup) => {
      expect(isAcceptable(backup)).toBe(true)
    }),
  )
  for (const record of [
    fine,
    { ...fine, status: 'Failed', original: null },
    { type: 'original', ...original },
    { type: 'original', ...originalFacts('2024/07/“anything”.db', 1), sha256: null, size: null, stored_at: null },
    { type: 'removed', what: 'original', path: 'old folder/é.jpg' },
    ignoredRecord(3),
    { type: 'removed', what: 'original', path: '2024/07/IMG.JPG' },
    { type: 'removed', what: 'ignored', id: 3 },
    { ...fine, at: '0001-01-01T00:00:00.000Z' },
    { ...fine, at: '9999-12-31T23:59:59.999Z' },
    { ...fine, at: '2024-02-29T12:00:00Z' },
  ] satisfies JournalRecord[]) {
    expect(isAcceptable(record), JSON.stringify(record)).toBe(true)
  }
})

it.each([
  ['a path out of the library', withOriginal({ path: '../x.jpg' })],
  ['an absolute path', withOriginal({ path: '/x.jpg' })],
  ['a path in the private folder', withOriginal({ path: '.iclood/library.json' })],
  ['an original outside the month folders', { type: 'original', ...originalFacts('Documents/tax.pdf', 1) }],
  ['an original in a folder of a month folder', withOriginal({ path: '2024/07/a/b.jpg' })],
  ['a completed backup without an original', { ...fine, original: null }],
  ['a path too long for an index', withOriginal({ path: `2024/07/${'é'.repeat(1500)}` })],
  ['NUL in a path', withOriginal({ path: '2024/07/a\0' })],
  ['half a surrogate pair', { ...fine, name: 'a\ud800' }],
  ['NUL in a text', { ...fine, failure: 'a\0' }],
  ['a text of megabytes', { ...fine, phone_path: 'x'.repeat(10_000_000) }],
  ['a device too long for an index', { ...fine, device: 'x'.repeat(2000) }],
  ['a kind too long for an index', { ...fine, kind: 'x'.repeat(2000) }],
  ['no id', { ...fine, id: 0 }],
  ['an id that would leave none for others', { ...fine, id: Number.MAX_SAFE_INTEGER }],
  ['a size that no sum could hold', { ...fine, size: Number.MAX_SAFE_INTEGER }],
  ['a size below nothing', withOriginal({ size: -1 })],
  ['infinity', { ...fine, created: Number.POSITIVE_INFINITY }],
  ['a day that is not in the calendar', { ...fine, at: '2023-02-29T00:00:00.000Z' }],
  ['the year 0', { ...fine, at: '0000-01-01T00:00:00.000Z' }],
  ['a year of five digits', { ...fine, at: '+012024-01-01T00:00:00.000Z' }],
  ['the hour 24', withOriginal({ captured_at: '2024-01-01T24:00:00.000Z' })],
  ['an offset of weeks', withOriginal({ captured_offset: 100_000 })],
  ['a content identifier too long for an index', withOriginal({ content_id: 'x'.repeat(3000) })],
  ['a fraction of a minute', withOriginal({ captured_offset: 0.5 })],
  [
    'a size of what is ignored that no sum could hold',
    { ...ignoredRecord(1), announced_size: Number.MAX_SAFE_INTEGER },
  ],
  ['an infinite date of what is ignored', { ...ignoredRecord(1), created: Number.POSITIVE_INFINITY }],
  ['NUL in what is ignored', { ...ignoredRecord(1), phone_path: '\0' }],
  ['a path out of the library that was removed', { type: 'removed', what: 'original', path: '../x' }],
] satisfies [string, JournalRecord][])('refuses %s', (_, record) => {
  expect(isAcceptable(record)).toBe(false)
})
