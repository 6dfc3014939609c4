import { AppError } from '../../../src/errors.ts'
import { FileListScanner } from '../../../src/http/lists/file-list.ts'
import { readOfferedFile } from '../../../src/http/lists/offered-file.ts'
import { Random } from '../random.ts'
import { check, checkSame, type Target } from '../target.ts'

/**
 * Lists that phones announce. A list is taken if, and only if, `JSON.parse` takes it, and means the same, however it is
 * cut into chunks; each entry comes back byte for byte, and what is read from it is of the right kind. But for what is
 * written below.
 */
export const lists: Target = {
  name: 'lists',
  seeds: [
    '{"device_id":"iPhone","files":[{"path":"/a.jpg","id":"1/L0/001","size":0,"type":"photo","created":1720000000000.5}]}',
    '{"files":[{"path":"file:///DCIM/IMG_1.MOV#Yn","type":"video","size":"12","modified":"2024-07-01T19:30:05Z"},{}],"x":{"files":[1]}}',
    ' {"files" : [ 1 , "a\\"]}" , [[],{}] , null ] , "files":[{"b":1.0,"__proto__":-0}]}\n',
    '\ufeff{"\\u0066iles":[12345678901234567890,1e400,true,false,"é😀\\ud83d"]}',
    `{"files":[{"path":"a","sha256":"${'0f'.repeat(32)}","id":9007199254740993,"created":-1e15,"size":9007199254740991}]}`,
    '{"files":{"0":[1]}}',
    '[[{"files":[1]}]]',
  ].map((text) => Buffer.from(text)),
  tokens: [
    ...[
      '"files"',
      '"files":[',
      '\\u0066',
      '"\\u0066\\u0069\\u006c\\u0065\\u0073"',
      '{"path":"a"},',
      '"path":',
      '"id":',
    ],
    ...['"size":', '"created":', '"modified":', '"type":"video"', '"name":', '"sha256":', 'null', 'true', '-', '1e400'],
    ...['9007199254740993', '"2024-07-01"', '"\\ud800"', '"\\u0000"', '\\', '\\"', '[', ']', '{', '}', ',', ':', '"'],
    ...['[[[[[[[[[[[[[[[[', ']]]]]]]]]]]]]]]]', '\ufeff', '\xa0', '"__proto__":', '"constructor":', '{"files":[1],'],
  ],
  inTests: 6000,
  run(input) {
    const ours = scan([input])
    const cut = scan(pieces(input))
    // In what is refused, what is wrong first depends on the chunks.
    checkSame(typeof cut === 'string' ? 'refused' : cut, typeof ours === 'string' ? 'refused' : ours, 'Cut, it differs')
    const theirs = parse(input)
    if (typeof ours === 'string') {
      check(theirs === undefined || ours.includes('64 deep'), 'It is refused, and JSON.parse takes it', ours)
      return
    }
    const files = parseAll(ours.files)
    if (theirs === undefined) {
      // Of two lists the last counts; the elements of the first are gone unread.
      check(files === undefined || isOverruled(input), 'It is taken, and JSON.parse refuses it')
      return
    }
    check(files !== undefined, 'An entry is no JSON, and JSON.parse takes the list', ours.files)
    checkSame(together(ours.head, files), theirs.value, 'It means something else')
    for (const file of files) checkEntry(file)
  },
}

interface Scanned {
  head: unknown
  files: string[]
}

/** What was scanned, or why it is refused. */
function scan(chunks: readonly Buffer[]): string | Scanned {
  const scanner = new FileListScanner()
  try {
    for (const chunk of chunks) scanner.push(chunk)
    const { head, files } = scanner.end()
    return { head, files: Array.from(files, (text) => text.toString()) }
  } catch (error) {
    if (error instanceof AppError) return `${error.code}: ${error.message}`
    throw error
  }
}

function pieces(input: Buffer): Buffer[] {
  const random = new Random(input.toString('latin1'))
  const longest = random.one([1, 3, 16, 256])
  const found: Buffer[] = []
  for (let at = 0; at < input.length; ) {
    const next = at + 1 + random.under(longest)
    found.push(input.subarray(at, next))
    at = next
  }
  return found
}

function parse(input: Buffer): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(input)) }
  } catch {
    return undefined
  }
}

function parseAll(files: readonly string[]): unknown[] | undefined {
  try {
    return files.map((file) => JSON.parse(file))
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function isOverruled(input: Buffer): boolean {
  return (input.toString('latin1').match(/files|\\u00/g)?.length ?? 0) > 1
}

function together(head: unknown, files: readonly unknown[]): unknown {
  if (typeof head !== 'object' || head === null || Array.isArray(head)) return head
  if (!('files' in head) || !Array.isArray(head.files)) return head
  return { ...head, files }
}

function checkEntry(value: unknown): void {
  const file = readOfferedFile(value)
  if (typeof file === 'string') return
  const texts = [file.path, file.name, file.id ?? 'x']
  check(
    texts.every((text) => text !== '' && text.isWellFormed() && !text.includes('\0')),
    'A text is none',
    texts,
  )
  check(file.size === null || (Number.isSafeInteger(file.size) && file.size > 0), 'A size is none', file.size)
  for (const time of [file.created, file.modified])
    check(time === null || Number.isFinite(time), 'A time is none', time)
  check(file.checksum === null || /^[0-9a-f]{64}$/.test(file.checksum), 'A checksum is none', file.checksum)
}
