import { createHash, type Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { LARGEST_ORIGINAL } from '../base/budgets.ts'
import { AppError, hasErrno } from '../errors.ts'
import type { Checksum } from '../media/checksum.ts'
import type { Drive } from './drive.ts'
import { io, READ } from './io.ts'

/** What the system's cache asks of reads that go past it: multiples of this, in the file and in memory, at most. */
const BLOCK_BYTES = 4096
const CHUNK_BYTES = 1024 * 1024
/**
 * A file's reads under way at a time. More hide the time of one, and they lie in a row: a disk need not move its head.
 */
const READS_PER_FILE = 3
const BUFFERS = 6
const KEEP_MS = 10_000

/**
 * Awaited after each chunk of at most 1 MiB and told its bytes: lets a reader give way, or stop by throwing. Before a
 * long wait it should call `letGo`, which closes the file for as long: a drive on which something is open can't be
 * unmounted.
 */
export type Pause = (bytes: number, letGo?: () => Promise<void>) => Promise<void>

/** A file is longer than anybody wants to read. */
export class LongerFile extends AppError {
  constructor(path: string, limit: number) {
    super('drive_error', `${path} on the drive is longer than the ${limit} bytes that it may have. Move it away.`)
  }
}

/** Memory for one read at a time, and where in it a read past the cache may begin. */
interface ReadBuffer {
  memory: Buffer
  offset: number
  /** Whether a read past the cache has succeeded there. */
  isProven: boolean
}

/**
 * Reads files from the drive itself: past the system's cache where system and file system can (O_DIRECT on Linux), so
 * that what is proven is the drive and not what was written to it a moment ago, and so that reading a whole library
 * leaves the cache to those who need it. Elsewhere, as on tmpfs, FUSE and networks, through the cache. Takes at most 6
 * MiB, and gives them back when nobody has read for a while.
 */
export class DirectReader {
  readonly #drive: Drive
  /** Whether reads go past the cache; found out by trying. */
  #isDirect = constants.O_DIRECT !== undefined
  readonly #buffers: ReadBuffer[] = []
  #free = BUFFERS
  readonly #waiting: { wanted: number; begin: () => void }[] = []
  #emptying: NodeJS.Timeout | undefined

  constructor(drive: Drive) {
    this.#drive = drive
  }

  /** Whether reads go past the system's cache, as far as it is known by now. */
  get isDirect(): boolean {
    return this.#isDirect
  }

  /** Forgets what was learnt about the drive; call it when the drive has come back. */
  forget(): void {
    this.#isDirect = constants.O_DIRECT !== undefined
    this.#buffers.length = 0
  }

  /**
   * Hashes the file `path` (relative to the library); returns its checksum and size in bytes. `expected` is the size
   * that it should have, if that is known: small files are read several at a time. One of more than `limit` bytes, of
   * which anybody can make terabytes that take no space, is given up as soon as it turns out to be longer than
   * `expected`: throws `LongerFile`. System errors pass, and what `pause` throws.
   */
  async hash(
    path: string,
    expected: number | null,
    { pause, limit = LARGEST_ORIGINAL }: { pause?: Pause | undefined; limit?: number } = {},
  ): Promise<{ checksum: Checksum; size: number }> {
    const buffers = await this.#take(buffersFor(expected))
    try {
      const readWith = (flags: number) =>
        new FileReading(this.#drive, path, flags, buffers, { expected, limit, pause }).run()
      const direct = this.#isDirect ? await readWith(READ | constants.O_DIRECT) : undefined
      if (direct !== undefined) return direct
      const buffered = await readWith(READ)
      if (buffered === undefined) throw new Error(`${path} can't be read`)
      // It is the way of reading that is refused here, not the file.
      if (buffered.size > 0 && !buffers.some((buffer) => buffer.isProven)) this.#isDirect = false
      return buffered
    } finally {
      this.#give(buffers)
    }
  }

  async #take(wanted: number): Promise<ReadBuffer[]> {
    if (this.#waiting.length > 0 || this.#free < wanted) {
      await new Promise<void>((begin) => this.#waiting.push({ wanted, begin }))
    } else {
      this.#free -= wanted
    }
    clearTimeout(this.#emptying)
    return Array.from({ length: wanted }, () => this.#buffers.pop() ?? newBuffer())
  }

  #give(buffers: readonly ReadBuffer[]): void {
    this.#buffers.push(...buffers)
    this.#free += buffers.length
    // In the order of the calls: a large file must not wait for ever.
    for (let next = this.#waiting[0]; next !== undefined && this.#free >= next.wanted; next = this.#waiting[0]) {
      this.#waiting.shift()
      this.#free -= next.wanted
      next.begin()
    }
    if (this.#free < BUFFERS) return
    clearTimeout(this.#emptying)
    this.#emptying = setTimeout(() => {
      this.#buffers.length = 0
    }, KEEP_MS).unref()
  }
}

function buffersFor(size: number | null): number {
  return size === null ? 1 : Math.min(Math.ceil((size + 1) / CHUNK_BYTES), READS_PER_FILE)
}

function newBuffer(): ReadBuffer {
  // Large pieces of memory begin a little after a page: this is where the next one begins, mostly.
  return { memory: Buffer.allocUnsafeSlow(CHUNK_BYTES + BLOCK_BYTES), offset: BLOCK_BYTES - 16, isProven: false }
}

/** What one read gave. */
interface Chunk {
  buffer: ReadBuffer
  wanted: number
  bytes: number
}

/** One reading of one file, in one way. */
class FileReading {
  readonly #drive: Drive
  readonly #path: string
  /** Of open(2). */
  readonly #flags: number
  readonly #buffers: readonly ReadBuffer[]
  readonly #expected: number | null
  readonly #limit: number
  readonly #pause: Pause | undefined
  #file: number | undefined
  readonly #underWay: Promise<Chunk>[] = []
  /** Where the next read begins. */
  #position = 0

  constructor(
    drive: Drive,
    path: string,
    flags: number,
    buffers: readonly ReadBuffer[],
    { expected, limit, pause }: { expected: number | null; limit: number; pause: Pause | undefined },
  ) {
    this.#drive = drive
    this.#path = path
    this.#flags = flags
    this.#buffers = buffers
    this.#expected = expected
    this.#limit = limit
    this.#pause = pause
  }

  get #isDirect(): boolean {
    return this.#flags !== READ
  }

  /** Returns `undefined` if system or file system can't do it this way. */
  async run(): Promise<{ checksum: Checksum; size: number } | undefined> {
    try {
      const hash = createHash('sha256')
      const size = await this.#hashAll(hash)
      return { checksum: hash.digest('hex') as Checksum, size }
    } catch (error) {
      if (this.#isDirect && hasErrno(error, 'EINVAL', 'ENOTSUP', 'EOPNOTSUPP')) return undefined
      throw error
    } finally {
      await this.#letGo()
    }
  }

  /** Hashes the file's bytes in order while the next ones are being read; returns how many they are. */
  async #hashAll(hash: Hash): Promise<number> {
    // Behind the end that it should have, one at a time will do.
    const mayReadOn = () => this.#expected === null || this.#position <= this.#expected || this.#underWay.length === 0
    for (const buffer of this.#buffers) if (mayReadOn()) await this.#readNext(buffer)
    for (let size = 0, isMeasured = false; ; ) {
      const chunk = await this.#underWay.shift()
      if (chunk === undefined) return size
      const { buffer, bytes, wanted } = chunk
      size += bytes
      if (!isMeasured && (this.#expected === null || size > this.#expected)) {
        isMeasured = true
        this.#checkLength(Number((await io.lstat(this.#drive.at(this.#path))).size))
      }
      this.#checkLength(size)
      hash.update(buffer.memory.subarray(buffer.offset, buffer.offset + bytes))
      await this.#pause?.(bytes, this.#letGo)
      if (bytes < wanted) {
        // More than there should be was asked for, so it ends here. Elsewhere the next read tells, where it may begin.
        if (bytes === 0 || size === this.#expected || (this.#isDirect && size % 512 !== 0)) return size
        await Promise.allSettled(this.#underWay.splice(0))
        this.#position = size
      }
      if (mayReadOn()) await this.#readNext(buffer)
    }
  }

  #checkLength(size: number): void {
    if (size > this.#limit) throw new LongerFile(this.#path, this.#limit)
  }

  async #readNext(buffer: ReadBuffer): Promise<void> {
    this.#file ??= await io.open(this.#drive.at(this.#path), this.#flags)
    const wanted = this.#lengthAt(this.#position)
    const reading = this.#read(this.#file, buffer, wanted, this.#position)
    // Whoever comes to it hears of its failure; nobody does after an earlier one.
    reading.catch(() => {})
    this.#underWay.push(reading)
    this.#position += wanted
  }

  /** Closes the file; it is opened again if the reading goes on. */
  readonly #letGo = async (): Promise<void> => {
    // Nothing may be read into memory that somebody else has next, or from a descriptor that is another file's.
    await Promise.allSettled(this.#underWay)
    const file = this.#file
    this.#file = undefined
    if (file !== undefined) await this.#drive.touched.close(file)
  }

  /** How much to read at `position`: as much as there should be and a little more, which shows that it ends there. */
  #lengthAt(position: number): number {
    if (this.#expected === null || position > this.#expected) return CHUNK_BYTES
    const left = this.#expected + 1 - position
    return Math.min(Math.ceil(left / BLOCK_BYTES) * BLOCK_BYTES, CHUNK_BYTES)
  }

  async #read(file: number, buffer: ReadBuffer, wanted: number, position: number): Promise<Chunk> {
    for (;;) {
      try {
        const { bytesRead } = await io.read(file, buffer.memory, buffer.offset, wanted, position)
        // Of an empty file nothing is read, wherever to.
        if (this.#isDirect && bytesRead > 0) buffer.isProven = true
        return { buffer, wanted, bytes: bytesRead }
      } catch (error) {
        if (!this.#isDirect || buffer.isProven || !hasErrno(error, 'EINVAL') || !moveOn(buffer)) throw error
      }
    }
  }
}

/** Tries the next place in the buffer; returns whether there is one. */
function moveOn(buffer: ReadBuffer): boolean {
  const next = (buffer.offset + 16) % BLOCK_BYTES
  if (next === BLOCK_BYTES - 16) return false
  buffer.offset = next
  return true
}
