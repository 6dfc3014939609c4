import { createHash } from 'node:crypto'

/** Numbers that follow from a text alone. */
export class Random {
  #state: number

  constructor(from: string) {
    this.#state = createHash('sha256').update(from).digest().readInt32LE()
  }

  /** A whole number from 0 to `below` - 1. */
  under(below: number): number {
    // Mulberry32: its low bits are as good as its high ones.
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }

  one<Item>(items: readonly Item[]): Item {
    return items[this.under(items.length)] as Item
  }
}
