import { crc32 } from 'node:zlib'
import { formatLine, parseLine } from '../../../src/format/journal-line.ts'
import type { JournalLine } from '../../../src/format/journal-record.ts'
import { check, checkSame, type Target } from '../target.ts'

const CHECKSUM = '0f'.repeat(32)
const original =
  `{"path":"2024/07/IMG_1.JPG","sha256":"${CHECKSUM}","size":1234,"media_type":"image/jpeg","captured_at":` +
  '"2024-07-01T08:20:30.000Z","captured_offset":120,"content_id":"00000000-0000-4000-8000-000000000001",' +
  '"stored_at":"2024-07-01T10:20:30.123Z","verified_at":null}'
const SEEDS = [
  `{"type":"header","format":1,"library":"00000000-0000-4000-8000-000000000001","kind":"log","created":"2024-07-01T10:20:30.123Z"`,
  `{"type":"original",${original.slice(1, -1)}`,
  `{"type":"backup","id":1,"device":"iPhone","phone_path":"file:///DCIM/IMG_1.JPG","asset_id":"1/L0/001","name":"IMG_1.JPG",` +
    '"kind":"photo","status":"Completed","failure":null,"at":"2024-07-01T10:20:30.123Z","created":1719829230123.25,' +
    `"modified":null,"announced_size":0,"announced_from":"192.0.2.7","size":1234,"media_type":"image/jpeg","original":${original}`,
  '{"type":"ignored","id":2,"device":null,"phone_path":"/DCIM/2","asset_id":null,"name":"2","at":null,"created":0.5,"announced_size":1',
  '{"type":"removed","what":"original","path":"2024/07/IMG_1.JPG"',
  '{"type":"removed","what":"backup","id":1',
  '{"type":"end","lines":7',
  '{"type":"album","id":1',
]

/** `,"crc":"00000000"}` */
const CHECK_LENGTH = 18

/** The input is a line without its check, which follows; behind this byte it is a whole line. */
const WHOLE = '='

/**
 * Lines of the journal. None makes the reader throw; what is read is written and read again
 * the same, as one line; and a path that is taken stays within the library.
 */
export const journal: Target = {
  name: 'journal',
  seeds: [
    ...SEEDS.map((text) => Buffer.from(text)),
    ...SEEDS.map((text) => Buffer.concat([Buffer.from(WHOLE), withCheck(Buffer.from(text))])),
  ],
  // Of two members with one name the last counts.
  tokens: [
    ...[',"type":"original"', ',"type":"header"', ',"type":"toString"', ',"what":"original"', ',"path":"../x"', '/../'],
    ...[
      ',"path":"/etc/passwd"',
      ',"path":".iclood/x"',
      ',"path":"2024/07/a\\u0000"',
      ',"id":0',
      ',"id":9007199254740991',
    ],
    ...[
      ',"verified_at":"9999-12-31T23:59:59.999Z"',
      ',"at":"2023-02-29T00:00:00.000Z"',
      ',"size":-1',
      ',"created":1e999',
    ],
    ...[
      ',"original":null',
      ',"original":{}',
      ',"__proto__":{}',
      ',"crc":"00000000"',
      '\\ud800',
      '\\u0000',
      '\n',
      '"',
      '{',
    ],
    ...['null', '[]', '0.5', '1e999', '-1', '..', '}', ','],
  ],
  inTests: 20_000,
  run(input) {
    const bytes = input.toString('latin1', 0, 1) === WHOLE ? input.subarray(1) : withCheck(input)
    const line = parseLine(bytes)
    if (line === undefined || line === 'unknown') return
    check(bytes.equals(withCheck(bytes.subarray(0, -CHECK_LENGTH))), 'Its check is wrong')
    const written = formatLine(withoutCheck(line))
    check(written.indexOf('\n') === written.length - 1, 'It is written as more than one line', written)
    // A member that says what the line's own check says is read over.
    checkSame(parseLine(Buffer.from(written.slice(0, -1))), withCheckLast(line, written), 'Read again it is another')
    for (const path of pathsIn(line)) {
      const parts = path.split('/')
      check(
        path !== '' && !parts.includes('..') && !parts.includes('') && parts[0] !== '.iclood',
        'A path leads out',
        path,
      )
    }
  },
}

function withCheck(text: Buffer): Buffer {
  return Buffer.concat([text, Buffer.from(`,"crc":"${crc32(text).toString(16).padStart(8, '0')}"}`)])
}

function withoutCheck(line: JournalLine): JournalLine {
  const { crc, ...rest } = line as JournalLine & { crc?: unknown }
  return rest as JournalLine
}

function withCheckLast(line: JournalLine, written: string): unknown {
  return { ...withoutCheck(line), crc: written.slice(-11, -3) }
}

function pathsIn(line: JournalLine): string[] {
  if (line.type === 'original') return [line.path]
  if (line.type === 'backup') return line.original === null ? [] : [line.original.path]
  return line.type === 'removed' && line.what === 'original' ? [line.path] : []
}
