import busboy from 'busboy'
import { AppError } from '../../../src/errors.ts'
import { MultipartParser } from '../../../src/http/multipart/multipart.ts'
import { Random } from '../random.ts'
import { check, checkSame, type Target } from '../target.ts'

const BOUNDARY = 'x7Q_-Z'

/** A part as it came out: the file is the one named `file`. */
type Part = [name: string, content: string]

const part = (headers: string, content: string) => `--${BOUNDARY}\r\n${headers}\r\n\r\n${content}\r\n`
const disposition = (rest: string) => `Content-Disposition: form-data; ${rest}`
const end = `--${BOUNDARY}--\r\n`

const SEEDS = [
  [
    part(`${disposition('name="file"; filename="IMG_1.JPG"')}\r\nContent-Type: image/jpeg`, 'JPEG\r\n--bytes'),
    part(disposition('name="original_path"'), 'file:///var/IMG_1.JPG#YnBsaXN0'),
    part(disposition('name="created"'), '1720000000000.5'),
    end,
  ],
  [part(disposition('name="device_id"'), 'a'), part(disposition('name="file"'), ''), end],
  [
    part(`${disposition('name="photo"; filename="x"')}\r\nX: y\r\n z`, 'x'),
    part(disposition('name="_charset_"'), 'utf-8'),
    end,
  ],
  ['preamble\r\n', part(disposition('name=a'), `\r\n--${BOUNDARY}x\r\n--${BOUNDARY}-\r`), end, 'epilogue'],
  // Around the longest line that is a boundary.
  ...[252, 253, 254, 255, 256].map((length) => [
    part(disposition('name="a"'), `b\r\n--${BOUNDARY}${' '.repeat(length)}`),
    part(disposition('name="c"'), `d\r\n--${BOUNDARY}--${'\t'.repeat(length - 2)}`),
    end,
  ]),
  [part(disposition(`name="file"; filename="a;b.jpg"; filename*=utf-8''a%3Bb.jpg`), `\n--${BOUNDARY}`), end],
]

const TOKENS = [
  `\r\n--${BOUNDARY}`,
  `\r\n--${BOUNDARY}\r\n`,
  `\r\n--${BOUNDARY}--`,
  `\r\n--${BOUNDARY}--\r\n`,
  `\r\n--${BOUNDARY.slice(0, -1)}`,
  `--${BOUNDARY}`,
  '\r\n',
  '\r\n\r\n',
  '\r',
  '\n',
  '--',
  ' \t',
  disposition('name="a"'),
  disposition('name="file"'),
  'content-disposition: form-data',
  'Content-Type: text/plain; charset=utf-16',
  'Content-Type: application/octet-stream',
  'Content-Transfer-Encoding: base64',
  '; filename="b.jpg"',
  `; filename*=utf-8''%C3%A9`,
  '; name="file"',
  '"',
  '\\"',
  '\0',
  'é',
  part(disposition('name="b"'), 'c'),
]

/**
 * Bodies of uploads. However a body is cut into chunks, the same comes out; what comes out is what a plain reading of
 * the whole body yields, and what busboy yields; and busboy takes all that we take. But for what is written below.
 */
export const multipart: Target = {
  name: 'multipart',
  seeds: SEEDS.map((pieces) => Buffer.from(pieces.join(''))),
  tokens: TOKENS,
  inTests: 4000,
  run(body) {
    const whole = parse([body])
    const random = new Random(body.toString('latin1'))
    checkSame(parse(cut(body, random)), whole, 'Cut into chunks it is read differently')
    if (typeof whole === 'string') return
    checkSame(whole, wanted(plainReading(body)), 'A plain reading differs')
    if (isComparable(body)) checkSame(whole, wanted(readByBusboy(body)), 'busboy differs')
  },
}

/** The code of a refusal, or what came out. */
function parse(chunks: readonly Buffer[]): string | Part[] {
  const parts: Part[] = []
  let file: string[] | undefined
  try {
    const parser = new MultipartParser(BOUNDARY, {
      onFileStart() {
        check(file === undefined, 'A file begins within or after another')
        file = []
      },
      onFileData(bytes) {
        check(bytes.length > 0, 'Nothing was reported as data of the file')
        file?.push(bytes.toString('latin1'))
      },
      onFileEnd() {
        parts.push(['file', file?.join('') ?? ''])
      },
      onField(name, value) {
        parts.push([name, Buffer.from(value).toString('latin1')])
      },
    })
    for (const chunk of chunks) parser.push(chunk)
    parser.end()
  } catch (error) {
    if (error instanceof AppError) return error.code
    throw error
  }
  return parts
}

function cut(body: Buffer, random: Random): Buffer[] {
  const chunks: Buffer[] = []
  const longest = random.one([1, 2, 7, 64, 1024])
  for (let at = 0; at < body.length; ) {
    const next = at + 1 + random.under(longest)
    chunks.push(body.subarray(at, next))
    at = next
  }
  return chunks
}

interface ReadPart {
  name: string
  hasFileName: boolean
  content: string
}

/** What of the parts that were read is reported: files under other names are not, nor is the browsers' own field. */
function wanted(parts: readonly ReadPart[]): Part[] {
  return parts
    .filter(({ name, hasFileName }) => name === 'file' || (!hasFileName && name !== '_charset_'))
    .map(({ name, content }) => [name, content])
}

// With what is behind the delimiter a boundary's line has at most 256 bytes.
const NEXT_LINE = `--${BOUNDARY}[ \\t]{0,254}\\r\\n`
const LAST_LINE = `--${BOUNDARY}--(?:[ \\t]{0,252}\\r(?:\\n|$)|[ \\t]{0,253}(?:\\n|$))`
const FIRST_OF_ALL = new RegExp(`(?:^|\\r\\n)(?:(${NEXT_LINE})|${LAST_LINE})`)

/**
 * Reads the body at once: each content ends at the first line that is a boundary. Knows the headers of our seeds alone.
 */
function plainReading(body: Buffer): ReadPart[] {
  const parts: ReadPart[] = []
  let rest = body.toString('latin1')
  for (;;) {
    const boundary = FIRST_OF_ALL.exec(rest)
    check(boundary !== null, 'It has been taken without a closing boundary')
    const last = parts.at(-1)
    if (last !== undefined) last.content = rest.slice(0, boundary.index)
    if (boundary[1] === undefined) return parts
    rest = rest.slice(boundary.index + boundary[0].length)
    const headersEnd = rest.startsWith('\r\n') ? 0 : rest.indexOf('\r\n\r\n') + 2
    check(headersEnd !== 1, 'A part has been taken without an end of its headers')
    parts.push({ ...nameIn(rest.slice(0, headersEnd)), content: '' })
    rest = rest.slice(headersEnd + 2)
  }
}

/** By the parser's own reading: names are busboy's matter. */
function nameIn(headers: string): { name: string; hasFileName: boolean } {
  let name = ''
  let hasFileName = true
  const parser = new MultipartParser(BOUNDARY, {
    onFileStart() {
      name = 'file'
    },
    onFileData() {},
    onFileEnd() {},
    onField(field) {
      name = field
      hasFileName = false
    },
  })
  parser.push(Buffer.from(`--${BOUNDARY}\r\n${headers}\r\n\r\n--${BOUNDARY}--`, 'latin1'))
  parser.end()
  return { name, hasFileName }
}

/**
 * Whether busboy has to say the same. Where it need not:
 * - A boundary counts as a whole line only, with white space before its end (RFC 2046, 5.1.1). busboy takes whatever
 *   begins like one for a boundary, and drops the part behind one with white space.
 * - Phones write raw names between quotes, in UTF-8 or Latin-1, and we read what they mean. busboy reads the grammar,
 * and
 *   drops parts whose names break it.
 * - We take each field's bytes as UTF-8 whatever its `charset` is, and a field of any media type for a field.
 * - A file name that is empty marks a file (that is how a form says "none"); to busboy it is a field.
 * - A boundary may follow the empty line behind the headers at once: RFC 2046 knows parts without a content.
 * - Other headers may hold any bytes but NUL and CR, may be empty and folded; busboy refuses some.
 */
function isComparable(body: Buffer): boolean {
  const text = body.toString('latin1')
  const boundaries = text.match(/--x7Q_-Z/g)?.length ?? 0
  const plainBoundaries = text.match(/(?<=^|\r\n)--x7Q_-Z(?:\r\n|--(?:\r\n|$))/g)?.length ?? 0
  if (boundaries !== plainBoundaries || /[^\n]\r\n\r\n--x7Q_-Z/.test(text)) return false
  if (/\n[ \t]/.test(text)) return false
  const headers = text.match(/^content-(?:disposition|type).*|^[^\r\n]*:.*/gim) ?? []
  return headers.every((line) => PLAIN_HEADER.test(line.replace(/\r$/, '')))
}

const PLAIN_HEADER =
  /^(?:Content-Disposition: form-data; name="\w+"(?:; filename="[\w.]+")?|Content-Type: image\/jpeg|\w+: [\w ]+)$/

function readByBusboy(body: Buffer): ReadPart[] {
  const parts: ReadPart[] = []
  const parser = busboy({
    headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` },
    // Bytes as they are.
    defCharset: 'latin1',
    preservePath: true,
    fileHwm: 1024 * 1024,
    highWaterMark: 1024 * 1024,
  })
  let refusal: unknown
  parser.on('error', (error) => {
    refusal ??= error
  })
  parser.on('field', (name, content) => {
    parts.push({ name, hasFileName: false, content })
  })
  parser.on('file', (name, stream, { filename }) => {
    stream.on('error', () => {})
    const read: ReadPart = { name, hasFileName: filename !== undefined, content: '' }
    parts.push(read)
    stream.pause()
    // What has arrived can be taken at once.
    pending.push(() => {
      for (let data = stream.read(); data !== null; data = stream.read()) read.content += data.toString('latin1')
    })
  })
  const pending: (() => void)[] = []
  // It parses what it is given before it returns; of what is written at once it reads on behind the closing boundary.
  const close = body.indexOf(`--${BOUNDARY}--`) + `--${BOUNDARY}--`.length
  for (const half of [body.subarray(0, close), body.subarray(close)]) parser.write(half)
  for (const take of pending) take()
  parser.end()
  parser.destroy()
  check(refusal === undefined, 'busboy refuses it', String(refusal))
  return parts
}
