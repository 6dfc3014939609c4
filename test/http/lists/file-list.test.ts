import { describe, expect, it } from 'vitest'
import { AppError, type ErrorCode } from '../../../src/errors.ts'
import { type FileListLimits, FileListScanner } from '../../../src/http/lists/file-list.ts'
import { fc } from '../../support/property.ts'
import { rounds } from '../../support/rounds.ts'

function scan(chunks: readonly Buffer[], limits: Partial<FileListLimits> = {}): { head: unknown; files: string[] } {
  const scanner = new FileListScanner(limits)
  for (const chunk of chunks) scanner.push(chunk)
  const { head, files } = scanner.end()
  return { head, files: Array.from(files, (text) => text.toString()) }
}

const bytes = (text: string) => Buffer.from(text)
const single = (text: string) => [...bytes(text)].map((byte) => Buffer.from([byte]))

/** Cuts `whole` at the given places, which may repeat or lie outside. */
function cut(whole: Buffer, places: readonly number[]): Buffer[] {
  const edges = [0, ...places.map((place) => place % (whole.length + 1)).sort((a, b) => a - b), whole.length]
  return edges.slice(1).map((edge, i) => whole.subarray(edges[i], edge))
}

function refusal(action: () => unknown): { code: ErrorCode; message: string } | undefined {
  try {
    action()
    return undefined
  } catch (error) {
    if (error instanceof AppError) return { code: error.code, message: error.message }
    throw error
  }
}

const space = fc.string({ unit: fc.constantFrom(' ', '\n', '\t', '\r'), maxLength: 3 })
const string = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 5 }),
      fc.constantFrom('\\', '"', '\\"', '[', ']', '{', '}', ',', ':', 'files'),
    ),
    {
      maxLength: 4,
    },
  )
  .map((pieces) => JSON.stringify(pieces.join('')))
const number = fc.constantFrom('0', '-1', '1.0', '12345678901234567890', '1e400', '-0.0', '1E+2')
/** The text of any JSON value, with white space and number formats that parsing would lose. */
const { value, object } = fc.letrec<{ value: string; array: string; object: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    string,
    number,
    fc.constantFrom('true', 'false', 'null'),
    tie('array'),
    tie('object'),
  ),
  array: fc
    .tuple(fc.array(fc.tuple(space, tie('value'), space), { maxLength: 4 }), space)
    .map(([items, inside]) =>
      items.length === 0 ? `[${inside}]` : `[${items.map((item) => item.join('')).join(',')}]`,
    ),
  object: fc
    .tuple(
      fc.array(
        fc.tuple(space, fc.oneof(string, fc.constant('"files"'), fc.constant('"__proto__"')), space, tie('value')),
        { maxLength: 4 },
      ),
      space,
    )
    .map(([items, inside]) =>
      items.length === 0 ? `{${inside}}` : `{${items.map(([a, key, b, item]) => `${a}${key}${b}:${item}`).join(',')}}`,
    ),
}))
const places = fc.array(fc.nat(3000), { maxLength: 20 })

/** The document as the scanner gives it back: with the parsed elements in the place of the empty list. */
function putTogether({ head, files }: { head: unknown; files: string[] }): unknown {
  const isObject = typeof head === 'object' && head !== null && !Array.isArray(head)
  if (
    isObject &&
    Object.hasOwn(head, 'files') &&
    Array.isArray(Object.entries(head).find(([key]) => key === 'files')?.[1])
  ) {
    return Object.defineProperty(head, 'files', { value: files.map((text) => JSON.parse(text)) })
  }
  expect(files).toEqual([])
  return head
}

describe('a file list', () => {
  it('is a head without the elements, and the text of each element', () => {
    const text =
      '{"device_id": "iPhone", "files": [ {"path":"a"} ,\n{"b": [1, {}], "x":",]}\\""}], "more": {"files": [1]}}'
    for (const chunks of [[bytes(text)], single(text)]) {
      expect(scan(chunks)).toEqual({
        head: { device_id: 'iPhone', files: [], more: { files: [1] } },
        files: ['{"path":"a"}', '{"b": [1, {}], "x":",]}\\""}'],
      })
    }
  })

  it('comes back whole, whatever JSON it is and however it is cut', () => {
    fc.assert(
      fc.property(fc.oneof(value, object), space, places, (text, padding, at) => {
        const whole = bytes(padding + text + padding)
        expect(putTogether(scan(cut(whole, at)))).toEqual(JSON.parse(whole.toString()))
      }),
      { numRuns: rounds(2000) },
    )
  })

  it('has elements that are the text between its commas, whatever they are and however they are cut', () => {
    const element = fc.tuple(space, value, space)
    fc.assert(
      fc.property(fc.array(element, { maxLength: 6 }), object, places, (elements, other, at) => {
        const list = elements.map((pieces) => pieces.join('')).join(',')
        const text = `{"o":${other},"files" : [${list}] ,"p":${other}}`
        const expected = {
          head: JSON.parse(`{"o":${other},"files":[],"p":${other}}`),
          files: elements.map((pieces) => pieces[1]),
        }
        expect(scan(cut(bytes(text), at))).toEqual(expected)
        expect(scan(single(text))).toEqual(expected)
      }),
      { numRuns: rounds(500) },
    )
  })

  it('is refused or parses wherever JSON.parse does so, its elements included', () => {
    const noise = fc.constantFrom('"', '\\', '[', ']', '{', '}', ',', ':', '1', ' ', '"files"', '\\u0066', '\0')
    fc.assert(
      fc.property(fc.array(fc.oneof(noise, fc.constant('{"files":[')), { maxLength: 15 }), places, (pieces, at) => {
        const text = pieces.join('')
        // Elements of an overruled list are dropped unread.
        fc.pre(text.split('files').length <= 2)
        const valid = refusal(() => {
          try {
            JSON.parse(text)
          } catch (error) {
            throw new AppError('invalid_request', String(error))
          }
        })
        const scanned = refusal(() => {
          const { files } = scan(cut(bytes(text), at))
          try {
            for (const file of files) JSON.parse(file)
          } catch (error) {
            throw new AppError('invalid_request', String(error))
          }
        })
        expect(scanned?.code).toBe(valid?.code)
      }),
      { numRuns: rounds(5000) },
    )
  })

  it.each([
    ['"files" before the rest', '{"files":[1,2],"device_id":"d"}', ['1', '2']],
    ['a key written with escapes', '{"\\u0066i\\u006C\\u0065s":[1]}', ['1']],
    ['all of the key in escapes', '{"\\u0066\\u0069\\u006c\\u0065\\u0073":[1]}', ['1']],
    ['an empty list', '{"files":[ \n ]}', []],
    ['two lists, of which the last counts', '{"files":[1],"files":[2,3]}', ['2', '3']],
    ['a list after something else', '{"files":{"files":[9]},"files":[2]}', ['2']],
    [
      'numbers, key order and unknown keys as they were',
      '{"files":[{"b":1.0,"a":12345678901234567890,"__proto__":1}]}',
      ['{"b":1.0,"a":12345678901234567890,"__proto__":1}'],
    ],
    ['a byte order mark', '\ufeff{"files":[1]}', ['1']],
    [
      'keys and values that only look like it',
      '{"file":[1],"filess":[2],"Files":[3],"a":"files","b":[4],"files":[5]}',
      ['5'],
    ],
  ])('may have %s', (_, text, files) => {
    expect(scan([bytes(text)]).files).toEqual(files)
    expect(scan(single(text)).files).toEqual(files)
  })

  it.each([
    ['{"files":[1],"files":5}', { files: 5 }],
    ['{"files":{"0":[1]}}', { files: { '0': [1] } }],
    ['{"a":{"files":[1]}}', { a: { files: [1] } }],
    ['[{"files":[1]}]', [{ files: [1] }]],
    ['["files",[1]]', ['files', [1]]],
    ['"files"', 'files'],
    ['null', null],
  ])('is none in %s', (text, head) => {
    expect(scan([bytes(text)])).toEqual({ head, files: [] })
  })

  it('has elements that are slices of the chunks', () => {
    const whole = bytes('{"files":[{"path":"a"},{"path":"b"}]}')
    const scanner = new FileListScanner()
    scanner.push(whole)
    expect(Array.from(scanner.end().files, (file) => file.buffer === whole.buffer)).toEqual([true, true])
  })
})

describe('what is no file list', () => {
  it.each([
    ['', 'empty'],
    [' \n', 'empty'],
    ['\ufeff', 'empty'],
    ['{"files":[,]}', 'files[0] is missing'],
    ['{"files":[1,]}', 'files[1] is missing'],
    ['{"files":[1, ,2]}', 'files[1] is missing'],
    ['{"files":[1}', '"}"'],
    ['{"files":[1:2]}', '":"'],
    ['{"files":[{]}', 'files'],
    ['{"files":[1', 'after 0 elements'],
    ['{"files":[1,2,', 'after 2 elements'],
    ['{"files":["a', 'in the middle of a string'],
    ['{"files":[1]', 'JSON'],
    ['{"files":[1]]', 'JSON'],
    ['{"files":[1]}}', 'bracket'],
    ['{"files":[1]} x', 'JSON'],
    ['{"files":[1] [2]}', 'JSON'],
    ['{"files" [1]}', 'JSON'],
    ['{files:[1]}', 'JSON'],
    ["{'files':[1]}", 'JSON'],
    ['{"a":01}', 'JSON'],
    ['x', 'JSON'],
    [']', 'bracket'],
    [`{"files":[${'['.repeat(70)}`, '64 deep'],
    ['['.repeat(100_000), '64 deep'],
  ])('%j is refused, and why is said', (text, reason) => {
    const whole = refusal(() => scan([bytes(text)]))
    expect(whole?.code).toBe('invalid_request')
    expect(whole?.message).toContain(reason)
    expect(refusal(() => scan(single(text.slice(0, 200))))?.code).toBe('invalid_request')
  })

  it('is nothing nested 64 deep', () => {
    const inner = 62
    expect(scan([bytes(`{"files":[${'['.repeat(inner)}${']'.repeat(inner)}]}`)]).files).toHaveLength(1)
  })

  it('is bytes that are not UTF-8, in an element or elsewhere', () => {
    for (const text of ['{"files":["@"]}', '{"files":[1,"ü","@"]}', '{"a":"@","files":[]}']) {
      const whole = bytes(text)
      whole[whole.indexOf('@')] = 0xfc
      expect(refusal(() => scan([whole]))?.message).toContain('UTF-8')
      expect(refusal(() => scan([...whole].map((byte) => Buffer.from([byte]))))?.message).toContain('UTF-8')
    }
  })

  it.each([
    ['a body over its size', '{"files":[1,2,3]}', { bytes: 16 }, { bytes: 17 }],
    ['more files than fit', '{"files":[1,2,3]}', { files: 2 }, { files: 3 }],
    ['a large element', '{"files":[ "abc"]}', { element: 4 }, { element: 6 }],
    ['a large head', '{"files":[1],"a":1}', { head: 17 }, { head: 18 }],
  ])('is %s', (_, text, tooLow, enough) => {
    for (const chunks of [[bytes(text)], single(text)]) {
      expect(refusal(() => scan(chunks, tooLow))?.code).toBe('payload_too_large')
      expect(refusal(() => scan(chunks, enough))).toBeUndefined()
    }
  })

  it('does not include 100,000 files', () => {
    const file = JSON.stringify({
      path: `file:///var/mobile/Media/DCIM/100APPLE/IMG_0001.HEIC#${'Yn'.repeat(55)}`,
      id: 'x'.repeat(50),
      size: 0,
      type: 'photo',
      created: 1720000000000.5,
    })
    const files = Array(100_000).fill(file)
    const whole = bytes(`{"device_id":"d","files":[${files.join(',')}]}`)
    const chunks = Array.from({ length: Math.ceil(whole.length / 65_536) }, (_, i) =>
      whole.subarray(i * 65_536, (i + 1) * 65_536),
    )
    const scanned = scan(chunks)
    expect(scanned.files).toHaveLength(100_000)
    expect(scanned.files.every((text) => text === file)).toBe(true)
  })
})
