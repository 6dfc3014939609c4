import { describe, expect, it } from 'vitest'
import { AppError, type ErrorCode } from '../../../src/errors.ts'
import {
  boundaryOf,
  type FilePart,
  type MultipartLimits,
  MultipartParser,
} from '../../../src/http/multipart/multipart.ts'
import { fc } from '../../support/property.ts'
import { rounds } from '../../support/rounds.ts'

const BOUNDARY = 'x7Q_-.'.repeat(11).padEnd(70, 'Z')

interface Upload {
  file: FilePart | undefined
  bytes: Buffer
  fields: [string, string][]
  order: string[]
}

function parse(chunks: readonly Buffer[], boundary = BOUNDARY, limits: Partial<MultipartLimits> = {}): Upload {
  const upload: Upload = { file: undefined, bytes: Buffer.alloc(0), fields: [], order: [] }
  const data: Buffer[] = []
  const parser = new MultipartParser(
    boundary,
    {
      onFileStart(part) {
        upload.file = part
        upload.order.push('file')
      },
      onFileData(bytes) {
        expect(bytes.length).toBeGreaterThan(0)
        data.push(bytes)
      },
      onFileEnd: () => upload.order.push('end'),
      onField(name, value) {
        upload.fields.push([name, value])
        upload.order.push(name)
      },
    },
    limits,
  )
  for (const chunk of chunks) parser.push(chunk)
  parser.end()
  upload.bytes = Buffer.concat(data)
  return upload
}

function part(headers: string | readonly string[], content: string | Buffer, boundary = BOUNDARY): Buffer {
  const lines = [headers].flat().join('\r\n')
  return Buffer.concat([Buffer.from(`--${boundary}\r\n${lines}\r\n\r\n`), Buffer.from(content), Buffer.from('\r\n')])
}

function body(...parts: readonly Buffer[]): Buffer {
  return Buffer.concat([...parts, Buffer.from(`--${BOUNDARY}--\r\n`)])
}

const field = (name: string, value: string | Buffer) => part(`Content-Disposition: form-data; name="${name}"`, value)
const file = (content: string | Buffer, rest = '; filename="a.jpg"') =>
  part(`Content-Disposition: form-data; name="file"${rest}`, content)

function fileNameIn(parameters: string): string | undefined {
  return parse([body(file('x', parameters))]).file?.fileName
}

function codeOf(action: () => unknown): ErrorCode | undefined {
  try {
    action()
    return undefined
  } catch (error) {
    if (error instanceof AppError) return error.code
    throw error
  }
}

function messageOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    if (error instanceof AppError) return error.message
    throw error
  }
  throw new Error('nothing was refused')
}

/** Cuts `whole` at the given places, which may repeat or lie outside. */
function cut(whole: Buffer, places: readonly number[]): Buffer[] {
  const edges = [0, ...places.map((place) => place % (whole.length + 1)).sort((a, b) => a - b), whole.length]
  return edges.slice(1).map((edge, i) => whole.subarray(edges[i], edge))
}

describe('an upload as React Native on iOS writes it', () => {
  const upload = parse([
    body(
      part(
        [
          `content-disposition: form-data; name="file"; filename="照片 1.JPG"; filename*=utf-8''%E7%85%A7%E7%89%87%201.JPG`,
          'content-type: image/jpeg',
        ],
        'JPEG bytes',
      ),
      part('content-disposition: form-data; name="original_path"', 'file:///var/照片 1.JPG#YnBsaXN0'),
      part('content-disposition: form-data; name="created"', '1720000000000.5'),
    ),
  ])

  it('yields the file with its Unicode name and its media type', () => {
    expect(upload.file).toEqual({ fileName: '照片 1.JPG', mediaType: 'image/jpeg' })
    expect(upload.bytes.toString()).toBe('JPEG bytes')
  })

  it('yields the fields that follow the file, in order', () => {
    expect(upload.order).toEqual(['file', 'end', 'original_path', 'created'])
    expect(upload.fields[0]).toEqual(['original_path', 'file:///var/照片 1.JPG#YnBsaXN0'])
  })
})

describe('the bytes of the file', () => {
  const nasty = fc.oneof(
    { arbitrary: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)), weight: 2 },
    fc
      .constantFrom(
        '\r',
        '\n',
        '-',
        '\r\n',
        '\r\n--',
        '--',
        `--${BOUNDARY}`,
        `\r\n--${BOUNDARY.slice(0, -1)}`,
        `\r\n--${BOUNDARY}x`,
        `\r\n--${BOUNDARY}-x`,
        `\r\n--${BOUNDARY} \t \rx`,
        `\r\n--${BOUNDARY}--x`,
        `\n--${BOUNDARY}--\r\n`,
        `\r\n--${BOUNDARY}\r\r\n--${BOUNDARY}`,
        `\r\n--${BOUNDARY}${' '.repeat(300)}\r\n`,
      )
      .map((text) => Buffer.from(text)),
  )
  // Whole boundary lines can't be part of a content; a `y` at its end keeps it from growing into one there.
  const content = fc
    .array(nasty, { maxLength: 12 })
    .map((pieces) => Buffer.concat([...pieces, Buffer.from('y')]))
    .filter(
      (bytes) =>
        !new RegExp(`(^|\\r\\n)--${BOUNDARY}(--[ \\t]{0,250}\\r?\\n|[ \\t]{0,250}\\r\\n)`).test(
          bytes.toString('latin1'),
        ),
    )

  it('come out as they went in, however the body is cut into chunks', () => {
    fc.assert(
      fc.property(content, fc.array(fc.nat(2000), { maxLength: 30 }), (bytes, places) => {
        const whole = body(field('before', 'b'), file(bytes), field('after', 'é'))
        const upload = parse(cut(whole, places))
        expect(upload.bytes.equals(bytes)).toBe(true)
        expect(upload.order).toEqual(['before', 'file', 'end', 'after'])
        expect(upload.fields[1]).toEqual(['after', 'é'])
      }),
      { numRuns: rounds(1000) },
    )
  })

  it('come out as they went in when every byte is a chunk of its own', () => {
    fc.assert(
      fc.property(content, (bytes) => {
        const whole = body(file(bytes), field('after', 'a'))
        const upload = parse([...whole].map((byte) => Buffer.from([byte])))
        expect(upload.bytes.equals(bytes)).toBe(true)
        expect(upload.fields).toEqual([['after', 'a']])
      }),
      { numRuns: rounds(200) },
    )
  })

  it('are slices of the chunks, not copies', () => {
    const whole = body(file('0123456789'))
    const slices: Buffer[] = []
    const parser = new MultipartParser(BOUNDARY, {
      onFileStart() {},
      onFileData: (bytes) => slices.push(bytes),
      onFileEnd() {},
      onField() {},
    })
    parser.push(whole)
    parser.end()
    expect(slices.map((slice) => slice.buffer)).toEqual([whole.buffer])
  })

  it('may be none at all', () => {
    const upload = parse([body(file(''))])
    expect(upload.order).toEqual(['file', 'end'])
    expect(upload.bytes.length).toBe(0)
  })

  it('may be none at all with the boundary right after the empty line', () => {
    const headers = `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"\r\n\r\n`
    expect(parse([Buffer.from(`${headers}--${BOUNDARY}--`)]).order).toEqual(['file', 'end'])
  })
})

describe('what may surround the parts', () => {
  it('is a preamble, white space after a boundary, and an epilogue', () => {
    const text = body(file('x')).toString()
    const spaced = text
      .replace(`--${BOUNDARY}\r\n`, `--${BOUNDARY} \t\r\n`)
      .replace(`${BOUNDARY}--`, `${BOUNDARY}-- \t`)
    const upload = parse([Buffer.from(`This is a preamble.\r\n${spaced}And this an epilogue\r\n--${BOUNDARY}\r\n`)])
    expect(upload.order).toEqual(['file', 'end'])
    expect(upload.bytes.toString()).toBe('x')
  })

  it.each(['', '\r', '\r\n', '\n', ' \r\n'])('lets the body end in the closing boundary and %j', (ending) => {
    const whole = body(file('x')).toString().trimEnd()
    expect(parse([Buffer.from(whole + ending)]).order).toEqual(['file', 'end'])
  })

  it('may be nothing: a body that is only the closing boundary has no parts', () => {
    expect(parse([body()]).order).toEqual([])
  })

  it('is bounded before and after, each for itself', () => {
    const margins = [Buffer.alloc(40_000, 'a'), Buffer.from('\r\n'), body(file('x')), Buffer.alloc(40_000, 'a')]
    expect(parse([Buffer.concat(margins)]).order).toEqual(['file', 'end'])
    expect(codeOf(() => parse([Buffer.alloc(70_000, 'a\r\n')]))).toBe('invalid_request')
    expect(codeOf(() => parse([Buffer.concat([body(file('x')), Buffer.alloc(70_000)])]))).toBe('payload_too_large')
  })
})

describe('the file name', () => {
  it.each([
    ['; filename="照片 1.JPG"', '照片 1.JPG'],
    [`; filename="x.jpg"; filename*=utf-8''%E7%85%A7.JPG`, '照.JPG'],
    [`; filename*=UTF-8'en'%E7%85%A7.JPG; filename="x.jpg"`, '照.JPG'],
    [`; filename="x.jpg"; filename*="utf-8''%E7%85%A7.JPG"`, '照.JPG'],
    [`; filename="x.jpg"; filename*=iso-8859-1''M%FCnchen.jpg`, 'München.jpg'],
    [`; filename="fallback.jpg"; filename*=utf-8''%E7%85`, 'fallback.jpg'],
    [`; filename="fallback.jpg"; filename*=utf-8''%zz`, 'fallback.jpg'],
    [`; filename="fallback.jpg"; filename*=utf-8''a%00b`, 'fallback.jpg'],
    [`; filename="fallback.jpg"; filename*=utf-8''`, 'fallback.jpg'],
    [`; filename="fallback.jpg"; filename*=koi8-r''%C0`, 'fallback.jpg'],
    [`; filename="fallback.jpg"; filename*=nonsense`, 'fallback.jpg'],
    // encodeURI, which React Native uses, leaves these as they are.
    [`; filename="a (1)'b.jpg"; filename*=utf-8''a%20(1)'b.jpg`, "a (1)'b.jpg"],
    [`; filename="sun; sea.jpg"; filename*=utf-8''sun;%20sea.jpg`, 'sun; sea.jpg'],
    // Newer React Native sends encodeURIComponent.
    ['; filename="%E7%85%A7%E7%89%87%201.JPG"', '照片 1.JPG'],
    ['; filename="100% %E7 sure.jpg"', '100% %E7 sure.jpg'],
    ['; filename="a%2fb.jpg"', 'a%2fb.jpg'],
    // Browsers.
    ['; filename="say %22hi%22 %0D%0A there.jpg"', 'say "hi" \r\n there.jpg'],
    ['; filename="semi;colon; name=x.jpg"', 'semi;colon; name=x.jpg'],
    ['; filename="say \\"hi\\"; ok.jpg"', 'say "hi"; ok.jpg'],
    ['; filename="back\\\\slash.jpg"', 'back\\slash.jpg'],
    ['; filename="C:\\dir\\a.jpg"', 'C:\\dir\\a.jpg'],
    ['; filename="un"escaped.jpg"', 'un"escaped.jpg'],
    ['; filename="un"es;caped.jpg"', 'un"es;caped.jpg'],
    ['; filename=token.jpg', 'token.jpg'],
    ['; filename=12"inch; x="y"', '12"inch'],
    ['; FileName = "spaced.jpg" ; x', 'spaced.jpg'],
    ['; filename="unclosed.jpg', 'unclosed.jpg'],
    ['; filename="first.jpg"; filename="second.jpg"', 'first.jpg'],
    ['; filename=""', undefined],
    ['; filename', undefined],
    ['', undefined],
  ])('of the headers %s is %j', (parameters, name) => {
    expect(fileNameIn(parameters)).toBe(name)
  })

  it('is Latin-1 where it cannot be UTF-8', () => {
    const whole = body(file('x', '; filename="M@nchen.jpg"'))
    whole[whole.indexOf('@')] = 0xfc
    expect(parse([whole]).file?.fileName).toBe('München.jpg')
  })

  it('comes back from every name that a browser or React Native can send', () => {
    const name = fc
      .string({ unit: 'grapheme', minLength: 1 })
      .filter((text) => !/[\0\r\n"\\%;]/.test(text) && text.trim() === text)
    fc.assert(
      fc.property(name, (text) => {
        expect(fileNameIn(`; filename="${text}"`)).toBe(text)
        expect(fileNameIn(`; filename="${text}"; filename*=utf-8''${encodeURI(text)}`)).toBe(text)
      }),
    )
  })
})

describe('a name that is written with percent signs', () => {
  const nameIn = (header: string, name: string) =>
    parse([body(part(`${header}: form-data; name="file"; filename="${name}"`, 'x'))]).file?.fileName

  it('is that of the file, but for what React Native and browsers encode', () => {
    expect(nameIn('Content-Disposition', 'a%20b.jpg')).toBe('a%20b.jpg')
    expect(nameIn('Content-Disposition', '100%25.jpg')).toBe('100%25.jpg')
    expect(nameIn('Content-Disposition', '%E7%85%A7%20.jpg')).toBe('照 .jpg')
    expect(nameIn('content-disposition', 'a%20b.jpg')).toBe('a b.jpg')
    expect(nameIn('content-disposition', 'a%2520b.jpg')).toBe('a%20b.jpg')
  })

  it('comes back from every name that newer React Native can send', () => {
    const name = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !text.includes('\0'))
    fc.assert(
      fc.property(name, (text) => {
        expect(nameIn('content-disposition', encodeURIComponent(text))).toBe(text)
      }),
    )
  })
})

describe('which part is what', () => {
  it('takes a part named file without a file name, and without a type, as the file', () => {
    const upload = parse([body(file('bytes', ''))])
    expect(upload.file).toEqual({ fileName: undefined, mediaType: undefined })
    expect(upload.bytes.toString()).toBe('bytes')
  })

  it('skips a file under another name, and _charset_', () => {
    const other = part('Content-Disposition: form-data; name="photo"; filename="a.jpg"', 'x')
    const upload = parse([body(other, field('_charset_', 'utf-8'), field('device_id', 'd'))])
    expect(upload.order).toEqual(['device_id'])
  })

  it('names the misnamed part when it is as large as a photo', () => {
    const other = part('Content-Disposition: form-data; name="photo"; filename="a.jpg"', Buffer.alloc(2_000_000))
    expect(codeOf(() => parse([body(other)]))).toBe('invalid_request')
    expect(messageOf(() => parse([body(other)]))).toContain('"photo"')
  })

  it('refuses a second part named file', () => {
    expect(codeOf(() => parse([body(file('a'), file('b'))]))).toBe('invalid_request')
  })

  it('reports a repeated field each time, and fields named like object internals', () => {
    const upload = parse([body(field('a', '1'), field('a', '2'), field('__proto__', '3'), field('', '4'))])
    expect(upload.fields).toEqual([
      ['a', '1'],
      ['a', '2'],
      ['__proto__', '3'],
      ['', '4'],
    ])
  })

  it('reads header names, folded values and media types with parameters', () => {
    const upload = parse([
      body(
        part(
          [
            'CONTENT-DISPOSITION:form-data;\r\n\tname=file;\r\n  filename=a.jpg',
            'X-Other:',
            'Content-type: Image/HEIC; q="1;2"',
          ],
          'x',
        ),
      ),
    ])
    expect(upload.file).toEqual({ fileName: 'a.jpg', mediaType: 'image/heic' })
  })
})

describe('what is refused', () => {
  const disposition = 'Content-Disposition: form-data; name="file"'

  it.each([
    ['part headers without a disposition', [], 'invalid_request'],
    ['a disposition without a name', ['Content-Disposition: form-data; filename="a"'], 'invalid_request'],
    ['another disposition', ['Content-Disposition: attachment; name="file"'], 'invalid_request'],
    ['two dispositions', [disposition, disposition], 'invalid_request'],
    ['a header line without a colon', [disposition, 'nonsense'], 'invalid_request'],
    ['a header name with a space', [disposition, 'a b: c'], 'invalid_request'],
    ['a continued line with nothing before it', [` x`, disposition], 'invalid_request'],
    ['NUL in a header', [disposition.replace('file', 'fi\0le')], 'invalid_request'],
    ['a bare CR in a header', [`${disposition}\r; x`], 'invalid_request'],
    ['a bare LF in a header', [`${disposition}\nX: y`], 'invalid_request'],
    ['base64', [disposition, 'Content-Transfer-Encoding: base64'], 'invalid_request'],
    ['quoted-printable', [disposition, 'content-transfer-encoding: Quoted-Printable'], 'invalid_request'],
    ['over 16 KiB of headers', [disposition, `X: ${'x'.repeat(17_000)}`], 'headers_too_large'],
    ['over 16 KiB of folded headers', [disposition, `X: ${'\r\n x'.repeat(5_000)}`], 'headers_too_large'],
    ['over 16 KiB of header lines', [disposition, ...Array(5_000).fill('X: y')], 'headers_too_large'],
  ] as const)('%s', (_, headers, code) => {
    const whole = body(part(headers, 'x'))
    expect(codeOf(() => parse([whole]))).toBe(code)
    expect(codeOf(() => parse([...whole].map((byte) => Buffer.from([byte]))))).toBe(code)
  })

  it.each(['binary', '8bit', '7BIT'])('not the transfer encoding %s, which changes nothing', (encoding) => {
    expect(parse([body(part([disposition, `Content-Transfer-Encoding: ${encoding}`], 'x'))]).bytes.toString()).toBe('x')
  })

  it('a part without headers, whatever its content looks like', () => {
    const content = 'Content-Disposition: form-data; name="file"\r\n\r\nx'
    expect(codeOf(() => parse([body(Buffer.from(`--${BOUNDARY}\r\n\r\n${content}\r\n`))]))).toBe('invalid_request')
  })

  it('headers whose lines end in LF', () => {
    const headers = `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"\n\nx\r\n`
    expect(codeOf(() => parse([body(Buffer.from(headers))]))).toBe('invalid_request')
  })

  it('headers that never end, before they are all there', () => {
    const parser = new MultipartParser(BOUNDARY, { onFileStart() {}, onFileData() {}, onFileEnd() {}, onField() {} })
    parser.push(Buffer.from(`--${BOUNDARY}\r\n`))
    expect(codeOf(() => parser.push(Buffer.alloc(16_385, 'a')))).toBe('headers_too_large')
  })

  it('a million parts, at the 65th', () => {
    let parts = 0
    const parser = new MultipartParser(BOUNDARY, {
      onFileStart() {},
      onFileData() {},
      onFileEnd() {},
      onField: () => parts++,
    })
    const one = field('a', 'b')
    const code = codeOf(() => {
      for (let i = 0; i < 1_000_000; i++) parser.push(one)
    })
    expect(code).toBe('payload_too_large')
    expect(parts).toBe(64)
  })

  it('a field over 64 KiB, by its name; one of 64 KiB is taken', () => {
    expect(messageOf(() => parse([body(field('original_path', 'x'.repeat(65_537)))]))).toContain('"original_path"')
    expect(parse([body(field('original_path', 'x'.repeat(65_536)))]).fields[0]?.[1]).toHaveLength(65_536)
  })

  it('fields over 1 MiB together', () => {
    const large = Array.from({ length: 20 }, (_, i) => field(`f${i}`, 'x'.repeat(60_000)))
    expect(codeOf(() => parse([body(...large)]))).toBe('payload_too_large')
  })

  it('not a file however large next to those bounds', () => {
    expect(parse([body(file(Buffer.alloc(3_000_000, '\r\n')))]).bytes.length).toBe(3_000_000)
  })

  it('a field that is not UTF-8, or holds NUL', () => {
    expect(codeOf(() => parse([body(field('a', Buffer.from([0x4d, 0xfc])))]))).toBe('invalid_request')
    expect(codeOf(() => parse([body(field('a', 'b\0c'))]))).toBe('invalid_request')
  })

  it('a body with another boundary, showing both', () => {
    const whole = part('Content-Disposition: form-data; name="file"', 'x', 'other')
    expect(codeOf(() => parse([whole]))).toBe('invalid_request')
    expect(messageOf(() => parse([whole]))).toContain('--other')
    expect(messageOf(() => parse([whole]))).toContain(`--${BOUNDARY}`)
  })

  it('a body whose lines end in LF', () => {
    expect(codeOf(() => parse([Buffer.from(body(file('x')).toString().replaceAll('\r', ''))]))).toBe('invalid_request')
  })

  it('every body that stops before its closing boundary, as incomplete', () => {
    const whole = body(file('some bytes'), field('a', 'b'))
    const complete = whole.length - '\r\n'.length
    for (let length = 0; length < complete; length++) {
      expect(
        codeOf(() => parse([whole.subarray(0, length)])),
        `the first ${length} bytes`,
      ).toBe('upload_incomplete')
    }
    expect(codeOf(() => parse([whole.subarray(0, complete)]))).toBeUndefined()
  })

  it('nothing by a crash: random bytes and mangled bodies parse or are refused', () => {
    const whole = body(file('some bytes'), field('a', 'b'))
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(whole.length), fc.nat(40), fc.uint8Array({ maxLength: 5 })), { maxLength: 6 }),
        (edits) => {
          let mangled = whole
          for (const [at, length, bytes] of edits) {
            mangled = Buffer.concat([mangled.subarray(0, at), bytes, mangled.subarray(at + length)])
          }
          // Throws what isn't an AppError.
          codeOf(() => parse([mangled]))
        },
      ),
      { numRuns: rounds(1000) },
    )
  })

  it('a hostile header quickly, whatever it repeats', () => {
    for (const text of ['"', '\\', ';', '=', ' ', '="', '\\"', '" ', "filename*=utf-8''%", '\t;']) {
      const hostile = text.repeat(Math.floor(15_000 / text.length))
      codeOf(() => parse([body(...Array.from({ length: 30 }, (_, i) => field(`f${i}"; filename="${hostile}`, '')))]))
    }
  })
})

describe('the boundary in Content-Type', () => {
  it.each([
    [`multipart/form-data; boundary=${BOUNDARY}`, BOUNDARY],
    ['Multipart/Form-Data;BOUNDARY="gc0pJq0M:08jU534c0p"', 'gc0pJq0M:08jU534c0p'],
    ['multipart/form-data; charset=utf-8; boundary="with space"; x=y', 'with space'],
    ['multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW', '----WebKitFormBoundary7MA4YWxkTrZu0gW'],
    ['multipart/form-data; boundary=a/b=c:d?e', 'a/b=c:d?e'],
  ])('of %s is found', (contentType, boundary) => {
    expect(boundaryOf(contentType)).toBe(boundary)
  })

  it.each([
    [undefined, 'unsupported_media_type'],
    ['', 'unsupported_media_type'],
    ['application/json', 'unsupported_media_type'],
    ['multipart/mixed; boundary=x', 'unsupported_media_type'],
    ['multipart/form-data', 'invalid_request'],
    ['multipart/form-data; boundary', 'invalid_request'],
    ['multipart/form-data; boundary=', 'invalid_request'],
    ['multipart/form-data; boundary=""', 'invalid_request'],
    ['multipart/form-data; boundary="ends in space "', 'invalid_request'],
    ['multipart/form-data; boundary="a\nb"', 'invalid_request'],
    ['multipart/form-data; boundary=ü', 'invalid_request'],
    ['multipart/form-data; boundary=a; boundary=b', 'invalid_request'],
    [`multipart/form-data; boundary=${'x'.repeat(71)}`, 'invalid_request'],
  ] as const)('of %s is refused', (contentType, code) => {
    expect(codeOf(() => boundaryOf(contentType))).toBe(code)
  })
})
