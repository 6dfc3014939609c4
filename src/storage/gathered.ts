/** Of each block. */
export const BLOCK_BYTES = 64 * 1024
/** Blocks kept for the next upload, 8 MiB: as many as four large ones fill in turns. */
const KEPT_BLOCKS = 128

const free: Buffer[] = []

/** A block whose bytes are anything. It is asked for again and again, so its memory is given back with `giveBlock`. */
export function takeBlock(): Buffer {
  return free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES)
}

/** Nobody may read or write `block` any more. */
export function giveBlock(block: Buffer): void {
  if (free.length < KEPT_BLOCKS) free.push(block)
}

/** Bytes to be written together. `release` gives their memory back: it may change from then on. */
export interface Batch {
  readonly chunks: readonly Buffer[]
  readonly bytes: number
  release(): void
}

/**
 * Gathers bytes by copying them into blocks that are used again and again. What the network gives is short-lived that
 * way: kept until it is written, V8 would take it for long-lived, and look at all its heap to get it back.
 *
 * The first bytes go into `head`, which remains the caller's.
 */
export class Gathered {
  #open: Buffer
  #from = 0
  #to = 0
  #chunks: Buffer[] = []
  #blocks: Buffer[] = []
  #bytes = 0

  constructor(head: Buffer) {
    this.#open = head
  }

  /** How many bytes there are. */
  get bytes(): number {
    return this.#bytes
  }

  add(bytes: Buffer): void {
    for (let at = 0; at < bytes.byteLength; ) {
      if (this.#to === this.#open.byteLength) this.#openBlock()
      const copied = bytes.copy(this.#open, this.#to, at)
      this.#to += copied
      at += copied
    }
    this.#bytes += bytes.byteLength
  }

  /** Takes all that was gathered, and begins anew. */
  take(): Batch {
    this.#close()
    const chunks = this.#chunks
    const blocks = this.#blocks
    const bytes = this.#bytes
    this.#chunks = []
    this.#bytes = 0
    if (blocks.length > 0) {
      // What is left of the last block goes back with the rest of it.
      this.#blocks = []
      this.#from = this.#to = this.#open.byteLength
    }
    return { chunks, bytes, release: () => blocks.splice(0).forEach(giveBlock) }
  }

  #openBlock(): void {
    this.#close()
    const block = takeBlock()
    this.#blocks.push(block)
    this.#open = block
    this.#from = this.#to = 0
  }

  #close(): void {
    if (this.#to > this.#from) this.#chunks.push(this.#open.subarray(this.#from, this.#to))
    this.#from = this.#to
  }
}
