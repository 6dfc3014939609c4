import type { Random } from './random.ts'

/** No input is longer. */
export const MAX_INPUT_BYTES = 64 * 1024

/** Numbers that break what adds, multiplies, allocates or compares. */
const HOSTILE = [
  0, 1, 7, 8, 16, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff,
]
const BYTES = [...Buffer.from('\0\x01\t\n\r "%\',-./0:;<=>@[\\]{}\x7f\x80\xc3\xed\xf4\xff', 'latin1')]
/** The longest run that is copied, removed or filled at once. */
const MAX_RUN = 512

/** Makes inputs from others: bits flipped, lengths that lie, pieces removed, doubled, moved, and spliced in. */
export class Mutator {
  readonly #random: Random
  readonly #tokens: readonly Buffer[]
  readonly #draft = Buffer.alloc(MAX_INPUT_BYTES)
  #length = 0

  constructor(random: Random, tokens: readonly (string | Buffer)[]) {
    this.#random = random
    this.#tokens = tokens.map((token) => (typeof token === 'string' ? Buffer.from(token) : token))
  }

  /** Returns a new input made from `input`, with pieces of `other` perhaps. */
  mutate(input: Buffer, other: Buffer): Buffer {
    this.#length = input.copy(this.#draft)
    // Mostly few changes, so that what is left still means something; sometimes many.
    const changes = 1 + this.#random.under(1 << (1 + this.#random.under(4)))
    for (let change = 0; change < changes; change++) this.#change(other)
    return Buffer.from(this.#draft.subarray(0, this.#length))
  }

  #change(other: Buffer): void {
    const random = this.#random
    const at = random.under(this.#length + 1)
    const kind = random.under(14)
    if (kind < 2) this.#overwrite(at, Buffer.of((this.#draft[at] ?? 0) ^ (1 << random.under(8))))
    else if (kind === 2) this.#overwrite(at, Buffer.of(random.one(BYTES)))
    else if (kind === 3) this.#overwrite(at, Buffer.of(random.under(256)))
    else if (kind === 4) this.#overwrite(at, this.#number(at))
    else if (kind < 7) this.#insert(at, this.#token())
    else if (kind === 7) this.#overwrite(at, this.#token())
    else if (kind === 8) this.#insert(at, Buffer.of(random.one(BYTES)))
    else if (kind === 9) this.#remove(at, 1 + random.under(this.#run()))
    else if (kind === 10) this.#insert(at, this.#pieceOf(this.#draft.subarray(0, this.#length)))
    else if (kind === 11) this.#insert(at, this.#pieceOf(other))
    else if (kind === 12) this.#overwrite(at, this.#pieceOf(other))
    else this.#changeMuch(at)
  }

  #changeMuch(at: number): void {
    const random = this.#random
    const kind = random.under(3)
    if (kind === 0) this.#length = at
    else if (kind === 1) this.#insert(at, Buffer.alloc(1 + random.under(MAX_RUN), random.one(BYTES)))
    else this.#overwrite(at, Buffer.alloc(1 + random.under(this.#run()), random.one(BYTES)))
  }

  /** A number of 1 to 8 bytes: a hostile one, or the one that stands there, a little changed. */
  #number(at: number): Buffer {
    const size = 1 << this.#random.under(4)
    const bytes = Buffer.alloc(size)
    const isLittle = this.#random.under(2) === 0
    const length = Math.min(size, 4)
    let number = this.#random.one(HOSTILE)
    if (size <= 4 && at + size <= this.#length && this.#random.under(2) === 0) {
      number = isLittle ? this.#draft.readUIntLE(at, size) : this.#draft.readUIntBE(at, size)
      number += this.#random.under(33) - 16
    }
    const fitting = (number >>> 0) % 2 ** (8 * length)
    if (isLittle) bytes.writeUIntLE(fitting, 0, length)
    else bytes.writeUIntBE(fitting, size - length, length)
    return bytes
  }

  #token(): Buffer {
    return this.#tokens.length === 0 ? Buffer.of(this.#random.one(BYTES)) : this.#random.one(this.#tokens)
  }

  #pieceOf(bytes: Buffer): Buffer {
    const start = this.#random.under(bytes.length + 1)
    return Buffer.from(bytes.subarray(start, start + 1 + this.#random.under(this.#run())))
  }

  /** Mostly short. */
  #run(): number {
    return 1 << this.#random.under(Math.log2(MAX_RUN) + 1)
  }

  #overwrite(at: number, bytes: Buffer): void {
    bytes.copy(this.#draft, at)
    this.#length = Math.min(MAX_INPUT_BYTES, Math.max(this.#length, at + bytes.length))
  }

  #insert(at: number, bytes: Buffer): void {
    this.#draft.copy(this.#draft, at + bytes.length, at, this.#length)
    bytes.copy(this.#draft, at)
    this.#length = Math.min(MAX_INPUT_BYTES, this.#length + bytes.length)
  }

  #remove(at: number, count: number): void {
    const end = Math.min(this.#length, at + count)
    this.#draft.copy(this.#draft, at, end, this.#length)
    this.#length -= end - at
  }
}
