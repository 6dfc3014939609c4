// A boundary counts only as a whole line: bytes of a photo that merely begin like one stay bytes of the photo.
const MAX_PADDING = 256

const TAB = 0x09
const LF = 0x0a
const CR = 0x0d
const SPACE = 0x20
const DASH = 0x2d

/** How far the rest of a boundary line has come, after the delimiter: `[ \t]*\r\n` or `--[ \t]*\r?\n`. */
type Line = 'begun' | 'padded' | 'returned' | 'dash' | 'closing' | 'closing, returned' | 'part' | 'close' | 'none'

/**
 * Finds the boundary lines of a multipart body (RFC 2046 section 5.1.1) in chunks of any size. Takes time in proportion
 * to the bytes whatever they are, and reports what lies between two boundaries in as few slices as there are chunks,
 * but for what looks like a boundary across the end of one: at most one delimiter and the white space after it are held
 * back from one chunk to the next.
 */
export class BoundaryScanner {
  readonly #delimiter: Buffer
  readonly #onContent: (bytes: Buffer) => void
  /** The rest of a line after a whole delimiter that goes on in the next chunk, and its bytes so far. */
  #line: Line | undefined
  readonly #held = Buffer.alloc(MAX_PADDING)
  #heldBytes = 0
  /**
   * How many bytes of the delimiter the content so far ends in. Its CR LF may be the line end before the content
   * itself…
   */
  #matched = 2
  /** …and then these are the bytes of the match that aren't content, should it come to nothing. */
  #borrowed = 2

  /** `onContent` gets the bytes between two boundaries in order, never empty: slices of chunks, or of a constant. */
  constructor(boundary: string, onContent: (bytes: Buffer) => void) {
    this.#delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1')
    this.#onContent = onContent
  }

  /**
   * To be called where content begins, right after a line end: a boundary may follow at once, as part headers, the
   * empty line and the next boundary do in a part without content.
   */
  begin(): void {
    this.#line = undefined
    this.#heldBytes = 0
    this.#matched = 2
    this.#borrowed = 2
  }

  /**
   * Reads `chunk` from `from` on, up to its end or to the end of a boundary line. Returns where it stopped, and the
   * kind of line that stopped it: before another part, or after the last one.
   */
  scan(chunk: Buffer, from: number): { position: number; boundary: 'part' | 'close' | undefined } {
    const position = this.#resumeDelimiter(chunk, from)
    if (this.#line !== undefined) {
      const { line, end } = this.#readLine(chunk, position, this.#line)
      if (line !== 'none') return { position: end, boundary: line === 'part' || line === 'close' ? line : undefined }
      // Not a boundary line after all. The byte that shows it may begin one, and is read again as content.
      const held = this.#held.subarray(0, this.#heldBytes)
      this.#line = undefined
      this.#heldBytes = 0
      this.#giveBackMatched()
      // Copied: what is reported must not change, and the next line is held in the same place.
      this.#emit(Buffer.from(held))
    }
    if (position === chunk.length) return { position, boundary: undefined }
    for (let search = position; ; ) {
      const found = chunk.indexOf(this.#delimiter, search)
      if (found < 0) break
      const begin = found + this.#delimiter.length
      const { line, end } = this.#readLine(chunk, begin, 'begun')
      search = end
      if (line === 'none') continue
      this.#emit(chunk.subarray(position, found))
      this.#matched = this.#delimiter.length
      return { position: end, boundary: line === 'part' || line === 'close' ? line : undefined }
    }
    const end = beginningAtEnd(chunk, position, this.#delimiter)
    this.#emit(chunk.subarray(position, end))
    this.#matched = chunk.length - end
    return { position: chunk.length, boundary: undefined }
  }

  /** Whether the body may end here: in a closing boundary that lacks only its line end. */
  atClose(): boolean {
    return this.#line === 'closing' || this.#line === 'closing, returned'
  }

  /** Goes on with a delimiter that began before this chunk. Returns where to go on. */
  #resumeDelimiter(chunk: Buffer, from: number): number {
    if (this.#matched === 0 || this.#line !== undefined) return from
    let position = from
    while (this.#matched < this.#delimiter.length && chunk[position] === this.#delimiter[this.#matched]) {
      this.#matched++
      position++
    }
    if (this.#matched === this.#delimiter.length) this.#line = 'begun'
    else if (position < chunk.length) this.#giveBackMatched()
    return position
  }

  /**
   * Reads the rest of a boundary line from `from` on, which has come to `line`. Returns what it has come to and the
   * place behind it; for `none` that of the byte that showed it, and if the chunk ends first the bytes are held.
   */
  #readLine(chunk: Buffer, from: number, before: Line): { line: Line; end: number } {
    let line = before
    let at = from
    const last = Math.min(chunk.length, from + MAX_PADDING - this.#heldBytes)
    while (at < last) {
      line = follow(line, chunk[at])
      if (line === 'none') return { line, end: at }
      at++
      if (line === 'part' || line === 'close') return { line, end: at }
      if (line === 'padded' || line === 'closing') at = skipPadding(chunk, at, last)
    }
    if (at - from + this.#heldBytes === MAX_PADDING) return { line: 'none', end: at - 1 }
    chunk.copy(this.#held, this.#heldBytes, from, at)
    this.#heldBytes += at - from
    this.#line = line
    return { line, end: at }
  }

  /**
   * The match came to nothing. A delimiter holds one CR, its first byte: no other match can have begun inside this one.
   */
  #giveBackMatched(): void {
    this.#emit(this.#delimiter.subarray(this.#borrowed, this.#matched))
    this.#matched = 0
    this.#borrowed = 0
  }

  #emit(bytes: Buffer): void {
    if (bytes.length > 0) this.#onContent(bytes)
  }
}

/** Nearly all of a long line, and none of it changes anything. */
function skipPadding(chunk: Buffer, from: number, to: number): number {
  let at = from
  while (at < to && (chunk[at] === SPACE || chunk[at] === TAB)) at++
  return at
}

function follow(line: Line, byte: number | undefined): Line {
  const isPadding = byte === SPACE || byte === TAB
  switch (line) {
    case 'begun':
      return isPadding ? 'padded' : byte === CR ? 'returned' : byte === DASH ? 'dash' : 'none'
    case 'padded':
      return isPadding ? 'padded' : byte === CR ? 'returned' : 'none'
    case 'returned':
      return byte === LF ? 'part' : 'none'
    case 'dash':
      return byte === DASH ? 'closing' : 'none'
    case 'closing':
      return isPadding ? 'closing' : byte === CR ? 'closing, returned' : byte === LF ? 'close' : 'none'
    case 'closing, returned':
      return byte === LF ? 'close' : 'none'
    default:
      return 'none'
  }
}

/**
 * Where the longest beginning of `delimiter` that ends `chunk` starts, at or after `from`; the chunk's length if there
 * is none.
 */
function beginningAtEnd(chunk: Buffer, from: number, delimiter: Buffer): number {
  let start = Math.max(from, chunk.length - delimiter.length + 1)
  for (;;) {
    start = chunk.indexOf(CR, start)
    if (start < 0) return chunk.length
    if (chunk.compare(delimiter, 0, chunk.length - start, start) === 0) return start
    start++
  }
}
