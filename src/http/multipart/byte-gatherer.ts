/**
 * Bytes of one short text that may arrive over several chunks, such as a part's headers or an element of a list.
 * Whoever appends keeps the length within bounds.
 */
export class ByteGatherer {
  #bytes = Buffer.allocUnsafe(512)
  #length = 0

  get length(): number {
    return this.#length
  }

  /** Appends `chunk[start, end)`. */
  append(chunk: Buffer, start: number, end: number): void {
    const needed = this.#length + end - start
    if (needed > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#bytes.length))
      this.#bytes.copy(larger, 0, 0, this.#length)
      this.#bytes = larger
    }
    chunk.copy(this.#bytes, this.#length, start, end)
    this.#length = needed
  }

  /** The bytes `[start, end)` gathered so far, in place: valid until the next `append`. */
  view(start = 0, end = this.#length): Buffer {
    return this.#bytes.subarray(start, Math.min(end, this.#length))
  }

  clear(): void {
    this.#length = 0
  }
}
