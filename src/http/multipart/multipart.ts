/*
 * http/multipart/: The one upload form, parsed as it comes: headers, boundaries, bytes, each bounded.
 */

import { isUtf8 } from 'node:buffer'
import { AppError } from '../../errors.ts'
import { BoundaryScanner } from './boundary-scanner.ts'
import { ByteGatherer } from './byte-gatherer.ts'
import { type PartHeaders, parsePartHeaders, quote } from './multipart-headers.ts'

export { boundaryOf } from './multipart-headers.ts'

/** The part that holds the file, as its headers describe it. */
export interface FilePart {
  /** The client's name for the file, Unicode and untrusted; absent when none was given. */
  fileName: string | undefined
  /** The client's idea of the media type, in lower case and without parameters; absent when none was given. */
  mediaType: string | undefined
}

/**
 * What the parser reports, in the order of the body. An exception thrown by one of these ends the parse and passes
 * through.
 */
export interface MultipartEvents {
  /** The part named `file` begins; called at most once. */
  onFileStart(part: FilePart): void
  /** The file's next bytes, never empty: a slice of a pushed chunk or of a constant, not copied and not reused. */
  onFileData(bytes: Buffer): void
  onFileEnd(): void
  /** A field, decoded as UTF-8, without NUL. A repeated field is reported each time: the last is meant to win. */
  onField(name: string, value: string): void
}

/** Bounds on everything but the file's own bytes, in bytes except `parts`. */
export interface MultipartLimits {
  partHeaders: number
  parts: number
  field: number
  /** What stands before the first boundary, and what stands after the last. */
  margin: number
  /** All of the above together, and the parts that nobody asked for. */
  total: number
}

const LIMITS: MultipartLimits = { partHeaders: 16384, parts: 64, field: 65536, margin: 65536, total: 1048576 }

const CR = 0x0d
const LF = 0x0a

/** What the next bytes belong to. */
type Section =
  | { kind: 'preamble' | 'headers' | 'file' | 'epilogue' }
  | { kind: 'field' | 'skipped'; headers: PartHeaders }

/**
 * Parses a `multipart/form-data` body (RFC 7578, RFC 2046 section 5.1) pushed in chunks of any size, synchronously and
 * without copying the file. The file is the part named `file`, with or without a file name; other parts with a file
 * name and the field `_charset_` are skipped.
 *
 * `push` and `end` throw `invalid_request` for what is malformed, `headers_too_large` and `payload_too_large` for what
 * is out of bounds, and `end` throws `upload_incomplete` when the closing boundary hasn't come. After a throw the
 * parser is spent.
 */
export class MultipartParser {
  readonly #boundary: string
  readonly #scanner: BoundaryScanner
  readonly #events: MultipartEvents
  readonly #limits: MultipartLimits

  #section: Section = { kind: 'preamble' }
  #parts = 0
  #fileSeen = false
  /** A part's headers, then its value if it is a field. */
  readonly #gathered = new ByteGatherer()
  #marginBytes = 0
  #totalBytes = 0
  /** The body's first bytes, to show when they aren't the boundary. */
  #opening = ''

  /** `boundary` as `boundaryOf` returns it. */
  constructor(boundary: string, events: MultipartEvents, limits: Partial<MultipartLimits> = {}) {
    this.#boundary = boundary
    this.#scanner = new BoundaryScanner(boundary, (bytes) => this.#content(bytes))
    this.#events = events
    this.#limits = { ...LIMITS, ...limits }
  }

  push(chunk: Buffer): void {
    let position = 0
    while (position < chunk.length) {
      if (this.#section.kind === 'headers') {
        position = this.#readHeaders(chunk, position)
      } else if (this.#section.kind === 'epilogue') {
        this.#countMargin(chunk.length - position)
        return
      } else {
        const stop = this.#scanner.scan(chunk, position)
        position = stop.position
        if (stop.boundary !== undefined) this.#finishSection(stop.boundary)
      }
    }
  }

  end(): void {
    if (this.#scanner.atClose()) this.#finishSection('close')
    if (this.#section.kind === 'epilogue') return
    if (this.#section.kind === 'preamble' && this.#opening !== '') throw this.#noBoundary()
    const where = this.#parts === 0 ? 'before its first part' : `in part ${this.#parts}`
    throw new AppError(
      'upload_incomplete',
      `The upload ended ${where}; expected it to end in the boundary ${quote(`--${this.#boundary}--`)}.`,
    )
  }

  #readHeaders(chunk: Buffer, position: number): number {
    const newline = chunk.indexOf(LF, position)
    const end = newline < 0 ? chunk.length : newline + 1
    if (this.#gathered.length + end - position > this.#limits.partHeaders) {
      throw new AppError(
        'headers_too_large',
        `The headers of part ${this.#parts} of the upload are over ${this.#limits.partHeaders} bytes.`,
      )
    }
    this.#count(end - position)
    this.#gathered.append(chunk, position, end)
    if (newline < 0) return end
    const block = this.#gathered.view()
    if (block.at(-2) !== CR) {
      throw new AppError(
        'invalid_request',
        `A header line of part ${this.#parts} of the upload ends in LF; expected CR LF.`,
      )
    }
    // An empty line: the last, or the only one.
    if (block.length === 2 || block.at(-3) === LF) {
      const headers = parsePartHeaders(block, this.#parts)
      this.#gathered.clear()
      this.#beginPart(headers)
    }
    return end
  }

  #beginPart(headers: PartHeaders): void {
    this.#scanner.begin()
    if (headers.name !== 'file') {
      this.#section = { kind: headers.hasFileName || headers.name === '_charset_' ? 'skipped' : 'field', headers }
      return
    }
    if (this.#fileSeen) throw new AppError('invalid_request', 'The upload has two parts named "file"; expected one.')
    this.#fileSeen = true
    this.#section = { kind: 'file' }
    this.#events.onFileStart({ fileName: headers.fileName, mediaType: headers.mediaType })
  }

  #content(bytes: Buffer): void {
    const section = this.#section
    if (section.kind === 'file') {
      this.#events.onFileData(bytes)
    } else if (section.kind === 'preamble') {
      if (this.#opening.length < 80) this.#opening += bytes.toString('latin1', 0, 80)
      this.#countMargin(bytes.length)
    } else if (section.kind === 'skipped') {
      this.#count(bytes.length, section.headers)
    } else if (section.kind === 'field') {
      this.#count(bytes.length, section.headers)
      if (this.#gathered.length + bytes.length > this.#limits.field) {
        throw new AppError(
          'payload_too_large',
          `The field ${quote(section.headers.name)} is over ${this.#limits.field} bytes.`,
        )
      }
      this.#gathered.append(bytes, 0, bytes.length)
    }
  }

  #finishSection(boundary: 'part' | 'close'): void {
    const section = this.#section
    if (section.kind === 'file') this.#events.onFileEnd()
    if (section.kind === 'field') this.#reportField(section.headers.name)
    this.#section = { kind: boundary === 'close' ? 'epilogue' : 'headers' }
    this.#marginBytes = 0
    if (boundary === 'close') return
    this.#parts++
    if (this.#parts > this.#limits.parts) {
      throw new AppError('payload_too_large', `The upload has more than ${this.#limits.parts} parts.`)
    }
  }

  #reportField(name: string): void {
    const bytes = this.#gathered.view()
    if (!isUtf8(bytes) || bytes.includes(0)) {
      throw new AppError('invalid_request', `The field ${quote(name)} must be UTF-8 text without NUL.`)
    }
    const value = bytes.toString('utf8')
    this.#gathered.clear()
    this.#events.onField(name, value)
  }

  #count(bytes: number, headers?: PartHeaders): void {
    this.#totalBytes += bytes
    if (this.#totalBytes <= this.#limits.total) return
    if (headers?.hasFileName) {
      throw new AppError('invalid_request', `The file's part is named ${quote(headers.name)}; expected "file".`)
    }
    throw new AppError('payload_too_large', `The upload has over ${this.#limits.total} bytes besides its file.`)
  }

  #countMargin(bytes: number): void {
    this.#marginBytes += bytes
    if (this.#marginBytes > this.#limits.margin) {
      if (this.#section.kind === 'preamble') throw this.#noBoundary()
      throw new AppError(
        'payload_too_large',
        `The upload has over ${this.#limits.margin} bytes after its closing boundary.`,
      )
    }
    this.#count(bytes)
  }

  #noBoundary(): AppError {
    return new AppError(
      'invalid_request',
      `The upload begins with ${quote(this.#opening)}; expected the line ${quote(`--${this.#boundary}`)}, ending in CR LF.`,
    )
  }
}
