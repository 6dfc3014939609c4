import { randomUUID } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { GATHERED_BYTES } from '../base/budgets.ts'
import { type AppError, hasErrno } from '../errors.ts'
import { STAGING_FOLDER } from '../format/layout.ts'
import type { Checksum } from '../media/checksum.ts'
import type { ReadAt } from '../media/read.ts'
import type { Drive } from './drive.ts'
import { driveError } from './drive-error.ts'
import { type Batch, BLOCK_BYTES, Gathered, giveBlock, takeBlock } from './gathered.ts'
import { type Hasher, type Hashing, hashHere } from './hashing/hasher.ts'
import { CREATE, io } from './io.ts'
import type { Reservation } from './space.ts'
import { writeAll } from './write-all.ts'

/**
 * Bytes gathered before a write: a drive takes one large write for the price of a small one. With the piece that fills
 * it, 1 MiB at most.
 */
const BATCH_BYTES = 960 * 1024
/** Bytes written before they are flushed in the background, so that the last flush of a long video is a short one. */
const FLUSH_BYTES = 32 * 1024 * 1024

/** A whole original in staging: all its bytes have been taken, and are on their way to the drive. */
export interface Staged {
  /** Relative to the library. */
  path: string
  size: number
  checksum: Checksum
  /** Resolves when the bytes would survive a power cut; rejects with `disk_full` or `drive_error`. */
  durable: Promise<void>
  /** Reads it; possible until it is discarded. */
  readAt: ReadAt
}

/**
 * An upload on its way to the drive. Bytes are given to `write` as they come, hashed, gathered and written in order.
 * The first failure is final: it is kept, and thrown by `drained` and `finish`.
 */
export class StagedFile {
  readonly #drive: Drive
  readonly #reservation: Reservation
  readonly #name = `${randomUUID()}.part`
  readonly #hashing: Hashing
  #file: number | undefined
  #finishing: Promise<void> | undefined
  #isFlushed = false
  /** The first bytes, which tell most of what inspection asks, until it is discarded. */
  readonly #head = takeBlock()
  #isDiscarded = false
  readonly #gathered = new Gathered(this.#head)
  #size = 0
  #written = 0
  #flushed = 0
  #writing: Promise<void> | undefined
  #flushing: Promise<void> | undefined
  #hashed: Promise<unknown> | undefined
  #failure: AppError | undefined

  constructor(drive: Drive, reservation: Reservation, hasher: Hasher = hashHere) {
    this.#drive = drive
    this.#reservation = reservation
    this.#hashing = hasher.begin()
    drive.inFlight.add(this.#name)
  }

  /** Bytes taken so far. */
  get size(): number {
    return this.#size
  }

  /** Relative to the library. */
  get path(): string {
    return `${STAGING_FOLDER}/${this.#name}`
  }

  /** Takes the next bytes, which may change afterwards; none any more when it is discarded. */
  write(bytes: Buffer): void {
    // What is gathered now may lie in another upload's memory in a moment.
    if (this.#isDiscarded) return
    this.#gathered.add(bytes)
    this.#size += bytes.byteLength
    if (this.#hasBatch && this.#writing === undefined) this.#startWriting()
  }

  /** Whether the sender should pause until `drained`: a batch is being written and the next one is full. */
  get isFull(): boolean {
    return this.#hasBatch || this.#failure !== undefined
  }

  get #hasBatch(): boolean {
    // As many uploads as there may be, all of them stopped, take no more than a few dozen MB.
    return this.#gathered.bytes >= Math.min(BATCH_BYTES, GATHERED_BYTES / this.#drive.inFlight.size)
  }

  /** Resolves when there is room for more. Throws the first failure. */
  async drained(): Promise<void> {
    while (this.#writing !== undefined && this.#hasBatch) await this.#writing
    if (this.#failure !== undefined) throw this.#failure
  }

  /**
   * Resolves when the drive has taken all bytes that came so far: their buffers may change now. Throws the first
   * failure.
   */
  async written(): Promise<void> {
    for (;;) {
      if (this.#writing === undefined && this.#gathered.bytes > 0 && this.#failure === undefined) this.#startWriting()
      if (this.#writing === undefined) break
      await this.#writing
    }
    if (this.#failure !== undefined) throw this.#failure
  }

  /** No more bytes will come: begins to write and flush what is left. Throws the first failure, or `hashing_failed`. */
  async finish(): Promise<Staged> {
    const whole = this.#writeLast()
    const durable = whole.then((last) => this.#finish(last))
    this.#finishing = durable
    // Whoever needs the bytes awaits them; nobody does when something else fails first.
    durable.catch(() => {})
    const { checksum } = await whole
    return {
      path: this.path,
      size: this.#size,
      checksum: await checksum,
      durable,
      readAt: (position, length) => this.#read(durable, position, length),
    }
  }

  /** Begins to hash and write the last bytes, when those before are written. */
  async #writeLast(): Promise<{ checksum: Promise<Checksum>; written: Promise<void> | undefined }> {
    while (this.#writing !== undefined) await this.#writing
    if (this.#failure !== undefined) throw this.#failure
    const batch = this.#gathered.take()
    if (batch.bytes > 0 || this.#file === undefined) this.#startWriting(this.#write(batch))
    const written = this.#writing
    await setImmediate()
    const checksum = this.#hashing.digest(batch.chunks)
    this.#hashed = Promise.allSettled([checksum, written]).then(batch.release)
    return { checksum, written }
  }

  async #finish({ written }: { written: Promise<void> | undefined }): Promise<void> {
    await written
    await this.#flushing
    if (this.#failure === undefined) await this.#flush()
    if (this.#failure !== undefined) throw this.#failure
    this.#isFlushed = true
  }

  /** Removes what was staged and gives back its space. Idempotent; also right after a commit. */
  async discard(): Promise<void> {
    const isFirst = !this.#isDiscarded
    this.#isDiscarded = true
    // Nothing may touch the file any more: its descriptor may be another file's in a moment.
    this.#gathered.take().release()
    await this.#finishing?.catch(() => {})
    while (this.#writing !== undefined) await this.#writing
    this.#hashing.abandon()
    await this.#hashed
    await this.#flushing
    const file = this.#file
    this.#file = undefined
    try {
      if (file === undefined) return
      try {
        await (this.#isFlushed ? this.#drive.touched.close(file) : io.close(file))
      } finally {
        await io.unlink(this.#drive.touchedAt(this.path))
      }
    } catch (error) {
      // Gone with its drive, or committed under its permanent name: either way it is not in staging any more.
      if (!hasErrno(error, 'ENOENT', 'ENOTDIR')) throw driveError(error, 'an unfinished upload was being removed')
    } finally {
      if (isFirst) giveBlock(this.#head)
      this.#reservation.release()
      this.#drive.inFlight.delete(this.#name)
    }
  }

  async #read(durable: Promise<void>, position: number, length: number): Promise<Uint8Array> {
    const end = Math.min(position + length, this.#size)
    if (!this.#isDiscarded && end <= BLOCK_BYTES) return this.#head.subarray(position, end)
    await durable
    if (this.#file === undefined) throw new Error('an upload was read after it had been discarded')
    const buffer = Buffer.allocUnsafe(length)
    try {
      const { bytesRead } = await io.read(this.#file, buffer, 0, length, position)
      return buffer.subarray(0, bytesRead)
    } catch (error) {
      throw driveError(error, 'an upload was being inspected')
    }
  }

  #startWriting(work = this.#takeGathered()): void {
    this.#writing = work
      .catch((error: unknown) => {
        this.#failure ??= driveError(error, 'an upload was being written')
      })
      .finally(() => {
        this.#writing = undefined
        if (this.#hasBatch && this.#failure === undefined) this.#startWriting()
      })
  }

  /** Writes what has been gathered, and hashes it meanwhile: the drive begins first. */
  async #takeGathered(): Promise<void> {
    const batch = this.#gathered.take()
    const written = this.#write(batch)
    written.catch(() => {})
    await setImmediate()
    try {
      await this.#hashing.update(batch.chunks)
    } finally {
      // Not before the write has ended, whatever becomes of it.
      await written.finally(batch.release)
    }
  }

  async #write({ chunks, bytes }: Batch): Promise<void> {
    await this.#reservation.ensure(bytes)
    try {
      this.#file ??= await this.#create()
      await writeAll(this.#file, chunks, this.#written)
    } catch (error) {
      throw hasErrno(error, 'ENOSPC') ? await this.#reservation.ranOut(bytes, error) : error
    }
    this.#written += bytes
    this.#reservation.used(bytes)
    if (this.#written - this.#flushed >= FLUSH_BYTES && this.#flushing === undefined) this.#startFlushing()
  }

  async #create(): Promise<number> {
    await this.#drive.checkTouched()
    try {
      return await io.open(this.#drive.touchedAt(this.path), CREATE)
    } catch (error) {
      if (!hasErrno(error, 'ENOENT')) throw error
      // Somebody has removed the staging folder.
      await this.#drive.makeOwnFolder(STAGING_FOLDER)
      return io.open(this.#drive.touchedAt(this.path), CREATE)
    }
  }

  #startFlushing(): void {
    this.#flushing = this.#flush().finally(() => {
      this.#flushing = undefined
    })
  }

  /** A failed flush is final: what the system dropped from its cache can't be flushed again. */
  async #flush(): Promise<void> {
    const upTo = this.#written
    try {
      if (this.#file !== undefined) await io.datasync(this.#file)
      this.#flushed = upTo
    } catch (error) {
      this.#failure ??= driveError(error, 'an upload was being flushed')
    }
  }
}

/** A new name in staging for a file that is written there before it gets its own; `clearStaging` knows it. */
export function newDraft(kind: 'part' | 'sums'): string {
  return `${STAGING_FOLDER}/${randomUUID()}.${kind}`
}

/** What lay in staging. */
export interface Cleared {
  /** How many files earlier uploads had left; they are removed. */
  files: number
  /** The names of what is none of this server's, and was left alone. */
  others: string[]
}

/** What the log says of those. */
export const LEFT_ALONE = 'something in .iclood/incoming is not the server’s, and was left alone'

/** A draft of an original, or of a SHA256SUMS. */
const OWN_NAME = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.(?:part|sums)$/

/**
 * Removes what earlier uploads left in staging, but nothing of the uploads in flight, and makes the folder if it is
 * missing. Only regular files with names of this server's own are removed, one by one. Call it when a library is opened
 * and when its drive has come back. Throws `drive_missing`, and `drive_error` also where staging is no real folder.
 */
export async function clearStaging(drive: Drive): Promise<Cleared> {
  try {
    await drive.check()
    await io.mkdir(drive.at(STAGING_FOLDER))
    const cleared: Cleared = { files: 0, others: [] }
    for (const name of (await io.list(drive.at(STAGING_FOLDER))).filter((name) => !drive.inFlight.has(name))) {
      const isOurs = OWN_NAME.test(name) && (await io.unlinkFile(drive.at(`${STAGING_FOLDER}/${name}`)))
      if (isOurs) cleared.files++
      else cleared.others.push(name)
    }
    return cleared
  } catch (error) {
    throw driveError(error, 'its staging folder was being cleared')
  }
}
