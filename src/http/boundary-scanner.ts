// A boundary counts only as a whole line: bytes of a photo that merely begin like one stay bytes of the photo.
const NEXT_PART = /^[ \t]*\r\n$/
const CLOSED = /^--[ \t]*\r?\n$/
const CLOSED_AT_END = /^--[ \t]*\r?$/
const UNDECIDED = /^(?:[ \t]*\r?|-|--[ \t]*\r?)$/
const MAX_PADDING = 256

const CR = 0x0d

/**
 * Finds the boundary lines of a multipart body (RFC 2046 section 5.1.1) in chunks of any size. At most one delimiter
 * and the white space after it are held back from one chunk to the next.
 */
export class BoundaryScanner {
  readonly #delimiter: Buffer
  readonly #onContent: (bytes: Buffer) => void
  /** Whether the scan is past a whole delimiter, reading the rest of its line. */
  #inLine = false
  /** That rest so far. */
  #line = ''
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
    this.#inLine = false
    this.#line = ''
    this.#matched = 2
    this.#borrowed = 2
  }

  /**
   * Reads `chunk` from `from` on, up to its end or to the end of a boundary line. Returns where it stopped, and the
   * kind of line that stopped it: before another part, or after the last one.
   */
  scan(chunk: Buffer, from: number): { position: number; boundary: 'part' | 'close' | undefined } {
    let position = from
    while (position < chunk.length) {
      if (!this.#inLine) {
        position = this.#scanContent(chunk, position)
        continue
      }
      const line = this.#line + chunk.toString('latin1', position, position + 1)
      if (NEXT_PART.test(line)) return { position: position + 1, boundary: 'part' }
      if (CLOSED.test(line)) return { position: position + 1, boundary: 'close' }
      if (UNDECIDED.test(line) && line.length < MAX_PADDING) {
        this.#line = line
        position++
      } else {
        // Not a boundary line after all. The byte that shows it may begin one, and is read again as content.
        this.#giveBackMatched()
        this.#emit(Buffer.from(this.#line, 'latin1'))
        this.#line = ''
        this.#inLine = false
      }
    }
    return { position, boundary: undefined }
  }

  /** Whether the body may end here: in a closing boundary that lacks only its line end. */
  atClose(): boolean {
    return this.#inLine && CLOSED_AT_END.test(this.#line)
  }

  #scanContent(chunk: Buffer, from: number): number {
    const delimiter = this.#delimiter
    let position = from
    if (this.#matched > 0) {
      while (this.#matched < delimiter.length && chunk[position] === delimiter[this.#matched]) {
        this.#matched++
        position++
      }
      this.#inLine = this.#matched === delimiter.length
      if (this.#inLine || position === chunk.length) return position
      this.#giveBackMatched()
    }
    const found = chunk.indexOf(delimiter, position)
    const end = found < 0 ? beginningAtEnd(chunk, position, delimiter) : found
    this.#emit(chunk.subarray(position, end))
    this.#inLine = found >= 0
    this.#matched = this.#inLine ? delimiter.length : chunk.length - end
    return end + this.#matched
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
