import { isUtf8 } from 'node:buffer'
import { AppError } from '../../errors.ts'
import { type ParameterizedHeader, parseParameters } from './header-parameters.ts'

/** What the headers of one part say. */
export interface PartHeaders {
  /** The form field's name. */
  name: string
  /** Whether a file name was given at all, if only an empty one: how a form marks a file. */
  hasFileName: boolean
  /** The file's name as the client knows it, not yet fit for a drive; absent when none or an empty one was given. */
  fileName: string | undefined
  /** `type/subtype` in lower case, without parameters; absent when there is none. Clients often get it wrong. */
  mediaType: string | undefined
}

/**
 * The boundary that a `Content-Type` of `multipart/form-data` announces: 1 to 70 characters, quoted or not (RFC 2046
 * section 5.1.1). Throws `unsupported_media_type` for another type or none, `invalid_request` for a boundary that is
 * missing, given twice or impossible.
 */
export function boundaryOf(contentType: string | undefined): string {
  const { main, parameters } = parseParameters(contentType ?? '')
  if (main !== 'multipart/form-data') {
    const found = contentType === undefined ? 'no Content-Type' : quote(contentType)
    throw new AppError('unsupported_media_type', `An upload must be multipart/form-data; this request has ${found}.`)
  }
  const boundaries = parameters.filter(({ name }) => name === 'boundary')
  const boundary = boundaries[0]?.value
  // The grammar's characters and those that a token may hold besides; no space at the end.
  if (boundaries.length !== 1 || !boundary || !/^[\w'()+,\-./:=?!#$%&*^`|~ ]{1,70}(?<! )$/.test(boundary)) {
    throw new AppError(
      'invalid_request',
      `Content-Type ${quote(contentType ?? '')} must name one boundary of 1 to 70 characters.`,
    )
  }
  return boundary
}

/**
 * Reads the headers of the part at `position` (counted from 1): `block` holds their lines and the empty line after
 * them, every line ending in CR LF. Bytes are UTF-8, or Latin-1 when they can't be. Throws `invalid_request` when they
 * are malformed, lack the field's name, or announce an encoding that would have to be undone.
 */
export function parsePartHeaders(block: Buffer, position: number): PartHeaders {
  const headers = readLines(block, position)
  const disposition = parseParameters(headers.get('content-disposition') ?? '')
  const name = disposition.parameters.find((parameter) => parameter.name === 'name')?.value
  if (disposition.main !== 'form-data' || name === undefined) {
    const found = headers.get('content-disposition')
    throw malformed(
      position,
      `need a Content-Disposition of form-data with a name; found ${found === undefined ? 'none' : quote(found)}`,
    )
  }
  const encoding = headers.get('content-transfer-encoding')?.trim().toLowerCase()
  if (encoding !== undefined && !['binary', '8bit', '7bit', ''].includes(encoding)) {
    throw malformed(position, `announce Content-Transfer-Encoding ${quote(encoding)}; only binary is accepted`)
  }
  const mediaType = parseParameters(headers.get('content-type') ?? '').main
  return {
    name: undoBrowserEscapes(name),
    hasFileName: disposition.parameters.some((parameter) => /^filename\*?$/.test(parameter.name)),
    fileName: fileNameOf(disposition, /^content-disposition/m.test(block.toString('latin1'))),
    mediaType: /^[^\s/]+\/[^\s/]+$/.test(mediaType) ? mediaType : undefined,
  }
}

/** `text` as a message shows it: in quotes, control characters escaped, at most 80 characters of it. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)
}

function readLines(block: Buffer, position: number): Map<string, string> {
  const text = isUtf8(block) ? block.toString('utf8') : block.toString('latin1')
  const headers = new Map<string, string>()
  // A line that begins with white space goes on with the one before it.
  for (const line of text.replace(/\r\n(?=[ \t])/g, '').split('\r\n')) {
    if (line === '') continue
    const [, name, value] = /^([!#$%&'*+\-.^`|~\w]+):([^\0\r]*)$/.exec(line) ?? []
    if (name === undefined || value === undefined) {
      throw malformed(position, `hold ${quote(line)}; expected "Name: value" without NUL or CR`)
    }
    const known = name.toLowerCase()
    if (known === 'content-disposition' && headers.has(known)) throw malformed(position, 'hold two Content-Disposition')
    headers.set(known, value)
  }
  return headers
}

/**
 * `filename*` (RFC 8187) says what `filename` may only approximate, and wins unless it is broken. React Native writes
 * it with `encodeURI`, which leaves semicolons bare: an unknown parameter after it is the rest of a name cut in two. It
 * alone writes its headers in lower case (`isReactNative`).
 */
function fileNameOf({ parameters }: ParameterizedHeader, isReactNative: boolean): string | undefined {
  const plain = parameters.find(({ name }) => name === 'filename')?.value
  const extendedAt = parameters.findIndex(({ name }) => name === 'filename*')
  const cut = parameters.slice(extendedAt + 1).some(({ name }) => name !== 'name' && name !== 'filename')
  const extended = extendedAt < 0 || (cut && plain) ? undefined : decodeExtended(parameters[extendedAt]?.value ?? '')
  if (extended) return extended
  return plain ? (decodeReactNative(plain, isReactNative) ?? undoBrowserEscapes(plain)) : undefined
}

/**
 * Which of two names for a file is right: what was made of the one in its part's headers, or the last component of its
 * path, if undoing what some clients do to names makes the one of the other. Then the path has it as it is: a file may
 * be called `a%22b.jpg`.
 */
export function surerName(fileName: string, nameInPath: string): string {
  const undone = [decodeReactNative(nameInPath, true), undoBrowserEscapes(nameInPath)]
  return undone.includes(fileName) ? nameInPath : fileName
}

function decodeExtended(value: string): string | undefined {
  const [, charset, encoded] = /^([\w-]+)'[^']*'(.+)$/s.exec(value) ?? []
  if (encoded === undefined) return undefined
  const decoded =
    charset?.toLowerCase() === 'utf-8'
      ? decodePercents(encoded)
      : charset?.toLowerCase() === 'iso-8859-1'
        ? encoded.replace(/%([\da-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
        : undefined
  return decoded?.includes('\0') ? undefined : decoded
}

/**
 * Newer React Native sends `encodeURIComponent(name)` as the plain file name: text that exactly that call could have
 * written. From another client a name such as `a%20b.jpg` is what the file is called; one that says something beyond
 * ASCII that way was encoded.
 */
function decodeReactNative(value: string, isReactNative: boolean): string | undefined {
  const decoded = decodePercents(value)
  if (decoded === undefined || decoded.includes('\0') || encodeURIComponent(decoded) !== value) return undefined
  return isReactNative || /[^\0-\x7f]/.test(decoded) ? decoded : undefined
}

function decodePercents(encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded)
  } catch (error) {
    if (error instanceof URIError) return undefined
    throw error
  }
}

/**
 * Undoes what browsers escape in names (the form-data encoding of the HTML standard): quotes and line ends, nothing
 * else.
 */
function undoBrowserEscapes(name: string): string {
  return name.replace(/%(22|0D|0A)/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

function malformed(position: number, found: string): AppError {
  return new AppError('invalid_request', `The headers of part ${position} of the upload ${found}.`)
}
