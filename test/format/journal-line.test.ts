import { describe, expect, it } from 'vitest'
import { formatLine, parseLine } from '../../src/format/journal-line.ts'
import type { BackupRecord } from '../../src/format/journal-record.ts'
import { anyBackup, backupRecord, ignoredRecord } from '../support/journal.ts'
import { fc } from '../support/property.ts'
import { rounds } from '../support/rounds.ts'

const bytesOf = (record: BackupRecord) => Buffer.from(formatLine(record)).subarray(0, -1)

/** A line with a right check around any value. */
const checked = (value: unknown) => Buffer.from(formatLine(value as BackupRecord)).subarray(0, -1)

describe('a line of the journal', () => {
  it('reads as it was written, whatever texts it holds, and is one line', () => {
    fc.assert(
      fc.property(anyBackup, (record) => {
        const text = formatLine(record)
        expect(text.indexOf('\n')).toBe(text.length - 1)
        expect(parseLine(bytesOf(record))).toEqual({ ...record, crc: expect.stringMatching(/^[0-9a-f]{8}$/) })
      }),
    )
  })

  it('ends in the CRC-32 of what is before it', () => {
    // Worked out with Python's zlib.crc32.
    expect(formatLine({ type: 'end', lines: 7 })).toBe('{"type":"end","lines":7,"crc":"d81457d9"}\n')
  })

  it('is refused with any single bit flipped', () => {
    fc.assert(
      fc.property(anyBackup, fc.nat(), fc.nat(7), (record, at, bit) => {
        const bytes = bytesOf(record)
        const position = at % bytes.byteLength
        bytes.writeUInt8(bytes.readUInt8(position) ^ (1 << bit), position)
        expect(parseLine(bytes)).toBeUndefined()
      }),
      { numRuns: rounds(1000) },
    )
  })

  it('is refused when it ends early, or begins late', () => {
    const bytes = bytesOf(backupRecord(1, 'Ostern 😀.JPG'))
    for (let length = 0; length < bytes.byteLength; length++) {
      expect(parseLine(bytes.subarray(0, length))).toBeUndefined()
      expect(parseLine(bytes.subarray(length + 1))).toBeUndefined()
    }
  })

  it('is refused when it runs together with the next one', () => {
    const two = Buffer.concat([bytesOf(backupRecord(1)), bytesOf(backupRecord(2))])
    expect(parseLine(two)).toBeUndefined()
  })

  it('of a server that did not know what it ignored is read', () => {
    const { created, announced_size, ...old } = ignoredRecord(1)
    expect(parseLine(checked(old))).toMatchObject(old)
  })

  it('is unknown if its type is none of ours', () => {
    expect(parseLine(checked({ type: 'album', id: 1 }))).toBe('unknown')
    expect(parseLine(checked({ type: 'toString', id: 1 }))).toBe('unknown')
  })

  it.each([
    ['no type', { id: 1 }],
    ['a type that is no text', { type: 7 }],
    ['an id that is no number', { ...backupRecord(1), id: '1' }],
    ['an id that is no whole number', { ...backupRecord(1), id: 1.5 }],
    ['a member missing', { ...ignoredRecord(1), name: undefined }],
    ['a checksum that is none', { type: 'original', ...backupRecord(1).original, sha256: 'abc' }],
    ['a time that is none', { ...ignoredRecord(1), at: 'yesterday' }],
    ['a date that is no number', { ...ignoredRecord(1), created: '1' }],
    ['a size that is no whole number', { ...ignoredRecord(1), announced_size: 1.5 }],
    ['an original that is a list', { ...backupRecord(1), original: [] }],
    ['a status that we do not write', { ...backupRecord(1), status: 'Pending' }],
    ['a removal without what is removed', { type: 'removed', what: 'original', id: 1 }],
  ])('is refused with %s, though its check is right', (_, value) => {
    expect(parseLine(checked(value))).toBeUndefined()
  })

  it('is refused with a number that is infinite, though its check is right', () => {
    expect(
      parseLine(checkedText('{"type":"header","format":1e999,"library":"","kind":"log","created":"2024-07-01Z"')),
    ).toBe(undefined)
  })

  it.each(['[1', '"a"', '7', 'null', 'x', '{"type":"end","lines":7}', '{"type":"end" "lines":7', ''])(
    'is refused if it is no JSON object, though its check is right: %s',
    (text) => {
      expect(parseLine(checkedText('{"type":"end","lines":7'))).toBeDefined()
      expect(parseLine(checkedText(text))).toBeUndefined()
    },
  )
})

/** `text` with the check that belongs to it. */
function checkedText(text: string): Buffer {
  let crc = 0xffffffff
  for (const byte of Buffer.from(text)) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  const digits = ((crc ^ 0xffffffff) >>> 0).toString(16).padStart(8, '0')
  return Buffer.from(`${text},"crc":"${digits}"}`)
}
