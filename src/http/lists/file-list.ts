import { isUtf8 } from 'node:buffer'
import { LIST_LENGTH } from '../../base/budgets.ts'
import { AppError } from '../../errors.ts'
import { ByteGatherer } from '../multipart/byte-gatherer.ts'
import { Elements } from './elements.ts'

/** Bounds on a file list, sizes in bytes. The defaults hold 100,000 files with long paths. */
export interface FileListLimits {
  /** The whole body. */
  bytes: number
  files: number
  /** What isn't an element of `files`: parsed at once. */
  head: number
  /** One element. */
  element: number
  /** Arrays and objects within each other. */
  depth: number
}

const LIMITS: FileListLimits = {
  bytes: LIST_LENGTH,
  files: 200_000,
  head: 262144,
  element: 262144,
  depth: 64,
}

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_ARRAY = 0x5b
const BACKSLASH = 0x5c
const CLOSE_ARRAY = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

const STRUCTURAL = new Uint8Array(256)
for (const byte of [QUOTE, COMMA, COLON, OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT]) STRUCTURAL[byte] = 1

/** How deep an element of the list lies: in an array in the outermost object. */
const LIST_DEPTH = 2

/**
 * Cuts the array under the top-level key `files` of a JSON document (RFC 8259) into its elements, in chunks of any
 * size, so that no step takes long however long the list is, and each element can be given back byte for byte. Of two
 * keys `files` the last counts, as with `JSON.parse`; elements of the first are then gone unread.
 *
 * `push` and `end` throw `payload_too_large` and `invalid_request`. An element is found by its brackets, strings and
 * commas only: whether it is JSON shows when it is parsed. Once each of them parses, the whole document was valid.
 */
export class FileListScanner {
  readonly #limits: FileListLimits
  #bytes = 0
  #depth = 0
  #inString = false
  #escaped = false
  /** Whether the strings of the current element are ASCII. */
  #ascii = true
  /** Whether the scan is between the brackets of `files`. */
  #inList = false
  #files = new Elements()
  /** The document without the elements. */
  readonly #head = new ByteGatherer()
  /** The beginning of an element that goes on in the next chunk. */
  readonly #element = new ByteGatherer()
  /** Where the last string in the outermost object stands in the head: a key, if a colon follows. */
  #stringStart = 0
  #stringEnd = 0
  /** Whether the scan is at the value of a top-level `files`. */
  #atFiles = false

  constructor(limits: Partial<FileListLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits }
  }

  /**
   * Scans the next bytes of the document. They must not change until the elements have been used: those are slices of
   * them.
   */
  push(chunk: Buffer): void {
    this.#bytes += chunk.length
    if (this.#bytes > this.#limits.bytes) {
      throw new AppError('payload_too_large', `The file list is over ${this.#limits.bytes} bytes; send it in parts.`)
    }
    // What precedes `from` has gone to the head or into an element.
    let from = 0
    let at = 0
    while (at < chunk.length) {
      if (this.#inString) {
        at = this.#skipString(chunk, at)
        if (!this.#inString) this.#stringEnd = this.#head.length + at - from
        continue
      }
      const byte = chunk[at] ?? 0
      if (STRUCTURAL[byte] === 1) {
        if (byte === QUOTE) {
          this.#inString = true
          if (this.#depth === 1) this.#stringStart = this.#head.length + at - from
        } else if (this.#inList && this.#depth === LIST_DEPTH && byte !== OPEN_ARRAY && byte !== OPEN_OBJECT) {
          from = this.#readInList(chunk, from, at, byte)
        } else if (byte === COLON || byte === COMMA) {
          if (this.#depth === 1) from = this.#readInObject(chunk, from, at, byte)
        } else if (byte === OPEN_ARRAY && this.#atFiles && this.#depth === 1) {
          from = this.#openList(chunk, from, at)
        } else {
          this.#nest(byte)
        }
      }
      at++
    }
    if (this.#inList) this.#gatherElement(chunk, from, chunk.length)
    else this.#gatherHead(chunk, from, chunk.length)
  }

  /**
   * Returns the document with `files` empty if it was an array, and as it was otherwise; and the text of each element
   * in order, without white space around it.
   */
  end(): { head: unknown; files: Elements } {
    if (this.#inString) throw notJson('it ends in the middle of a string')
    if (this.#inList) throw notJson(`it ends in "files" after ${this.#files.length} elements`)
    const bytes = this.#head.view()
    const text = bytes.subarray(bytes.indexOf('\ufeff') === 0 ? 3 : 0)
    if (!isUtf8(text)) throw notJson('it is not UTF-8')
    return { head: parseHead(text.toString('utf8')), files: this.#files }
  }

  /** Returns the place after the string's end, or after the chunk's if it goes on. */
  #skipString(chunk: Buffer, from: number): number {
    let at = from
    if (this.#escaped) {
      this.#escaped = false
      at++
    }
    let bits = 0
    for (; at < chunk.length; at++) {
      const byte = chunk[at] ?? 0
      bits |= byte
      if (byte === QUOTE) {
        this.#inString = false
        at++
        break
      }
      if (byte === BACKSLASH) at++
    }
    if (bits > 0x7f) this.#ascii = false
    this.#escaped = at > chunk.length
    return Math.min(at, chunk.length)
  }

  #nest(byte: number): void {
    this.#depth += byte === OPEN_ARRAY || byte === OPEN_OBJECT ? 1 : -1
    if (this.#depth < 0) throw notJson('a bracket closes that was never opened')
    if (this.#depth > this.#limits.depth) {
      throw notJson(`it is nested more than ${this.#limits.depth} deep`)
    }
  }

  #readInObject(chunk: Buffer, from: number, at: number, byte: number): number {
    if (byte === COMMA) {
      this.#atFiles = false
      return from
    }
    if (!canBeFilesKey(this.#stringEnd - this.#stringStart)) return from
    this.#gatherHead(chunk, from, at)
    this.#atFiles = isFilesKey(this.#head.view(this.#stringStart, this.#stringEnd))
    if (this.#atFiles) this.#files = new Elements()
    return at
  }

  #openList(chunk: Buffer, from: number, at: number): number {
    this.#gatherHead(chunk, from, at + 1)
    this.#nest(OPEN_ARRAY)
    this.#atFiles = false
    this.#inList = true
    return at + 1
  }

  /** Reads a comma, colon or closing bracket between the elements. */
  #readInList(chunk: Buffer, from: number, at: number, byte: number): number {
    if (byte === COLON || byte === CLOSE_OBJECT) {
      throw notJson(`"files" holds ${byte === COLON ? '":"' : '"}"'} after ${this.#files.length} elements`)
    }
    const isAdded = this.#element.length === 0 ? this.#addFile(chunk, from, at) : this.#addGathered(chunk, from, at)
    if (!isAdded && (byte === COMMA || this.#files.length > 0)) {
      throw notJson(`files[${this.#files.length}] is missing`)
    }
    if (byte === COMMA) return at + 1
    this.#inList = false
    this.#nest(byte)
    return at
  }

  #addGathered(chunk: Buffer, from: number, to: number): boolean {
    this.#gatherElement(chunk, from, to)
    const element = Buffer.from(this.#element.view())
    this.#element.clear()
    return this.#addFile(element, 0, element.length)
  }

  /** Adds an element without the white space around it; returns false if there is nothing else. */
  #addFile(bytes: Buffer, from: number, to: number): boolean {
    let start = from
    let end = to
    while (start < end && isSpace(bytes[start])) start++
    while (start < end && isSpace(bytes[end - 1])) end--
    if (start === end) return false
    const index = this.#files.length
    if (index >= this.#limits.files) {
      throw new AppError('payload_too_large', `"files" has more than ${this.#limits.files} elements; send it in parts.`)
    }
    if (end - start > this.#limits.element) throw this.#elementTooLarge()
    if (!this.#ascii && !isUtf8(bytes.subarray(start, end))) throw notJson(`files[${index}] is not UTF-8`)
    this.#ascii = true
    this.#files.add(bytes, start, end)
    return true
  }

  #gatherElement(chunk: Buffer, from: number, to: number): void {
    if (this.#element.length + to - from > this.#limits.element) throw this.#elementTooLarge()
    this.#element.append(chunk, from, to)
  }

  #gatherHead(chunk: Buffer, from: number, to: number): void {
    if (this.#head.length + to - from > this.#limits.head) {
      throw new AppError('payload_too_large', `The body has over ${this.#limits.head} bytes besides its "files".`)
    }
    this.#head.append(chunk, from, to)
  }

  #elementTooLarge(): AppError {
    return new AppError('payload_too_large', `files[${this.#files.length}] is over ${this.#limits.element} bytes.`)
  }
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
}

/** Whether a JSON string of `length` bytes can mean `files`: each letter may be an escape of six characters. */
function canBeFilesKey(length: number): boolean {
  const extra = length - '"files"'.length
  return extra >= 0 && extra <= 25 && extra % 5 === 0
}

function isFilesKey(text: Buffer): boolean {
  const letter = (_: string, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))
  return text.toString('latin1').replace(/\\u00([67][\da-f])/gi, letter) === '"files"'
}

function parseHead(text: string): unknown {
  if (/^[ \t\r\n]*$/.test(text)) throw new AppError('invalid_request', 'The body is empty; expected a JSON object.')
  try {
    return JSON.parse(text)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    // Positions would be those in the text without its elements.
    throw notJson(error.message.replace(/ (in JSON )?at position \d+.*$/s, ''))
  }
}

function notJson(found: string): AppError {
  return new AppError('invalid_request', `The body is not valid JSON: ${found}.`)
}
