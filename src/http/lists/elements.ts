const COMMA = Buffer.from(',')

/** Elements that follow each other, by their indexes, and the text from the first to the last of them. */
export interface Run {
  first: number
  last: number
  text: Buffer
}

/**
 * What a list holds: texts of elements that lie in a few larger pieces, as they arrived. Each of ten thousand by itself
 * would cost more than reading them.
 */
export class Elements {
  readonly #pieces: Buffer[] = []
  /** Of each element its piece, and where it begins and ends there. */
  readonly #piece: number[] = []
  readonly #start: number[] = []
  readonly #end: number[] = []

  get length(): number {
    return this.#start.length
  }

  /** Adds `piece[start, end)`, which must not change any more. */
  add(piece: Buffer, start: number, end: number): void {
    if (this.#pieces.at(-1) !== piece) this.#pieces.push(piece)
    this.#piece.push(this.#pieces.length - 1)
    this.#start.push(start)
    this.#end.push(end)
  }

  /** The text of one element; empty if there is none. */
  at(index: number): Buffer {
    return this.#slice(index, index)
  }

  *[Symbol.iterator](): Generator<Buffer> {
    for (let index = 0; index < this.length; index++) yield this.at(index)
  }

  /**
   * Cuts the list into runs of elements that follow each other in one piece, with what lies between them: commas and
   * white space.
   */
  *runs(): Generator<Run> {
    for (let first = 0; first < this.length; ) {
      let last = first
      while (last + 1 < this.length && this.#piece[last + 1] === this.#piece[first]) last++
      yield { first, last, text: this.#slice(first, last) }
      first = last + 1
    }
  }

  /** The JSON array of the elements with these indexes, byte for byte as they are. */
  array(indexes: readonly number[]): Buffer[] {
    const parts: Buffer[] = []
    for (let from = 0; from < indexes.length; ) {
      let to = from
      while (to + 1 < indexes.length && this.#areJoined(indexes[to] ?? 0, indexes[to + 1] ?? 0)) to++
      parts.push(this.#slice(indexes[from] ?? 0, indexes[to] ?? 0))
      from = to + 1
    }
    const between = parts.flatMap((part, index) => (index === 0 ? [part] : [COMMA, part]))
    return [Buffer.from('['), ...between, Buffer.from(']')]
  }

  /** Whether one element follows the other with nothing but a comma between them. */
  #areJoined(index: number, next: number): boolean {
    return (
      next === index + 1 &&
      this.#piece[next] === this.#piece[index] &&
      this.#start[next] === (this.#end[index] ?? 0) + COMMA.length
    )
  }

  #slice(first: number, last: number): Buffer {
    const piece = this.#pieces[this.#piece[first] ?? -1]
    return piece === undefined ? Buffer.alloc(0) : piece.subarray(this.#start[first], this.#end[last])
  }
}
