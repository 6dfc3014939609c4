import { PROMISED_AHEAD } from '../base/budgets.ts'
import { AppError } from '../errors.ts'
import type { Drive } from './drive.ts'
import { driveError } from './drive-error.ts'
import { io } from './io.ts'

/** Sizes of the file system that holds the library, in bytes; `free` is what an ordinary user may still write. */
export interface DiskUsage {
  total: number
  used: number
  free: number
}

export async function diskUsage(drive: Drive): Promise<DiskUsage> {
  try {
    const { bsize, blocks, bfree, bavail } = await drive.answered(() => io.statfs(drive.root))
    return { total: blocks * bsize, used: (blocks - bfree) * bsize, free: bavail * bsize }
  } catch (error) {
    throw driveError(error, 'its free space was being read')
  }
}

/** Space on the drive that an upload has been promised and has not used yet. */
export interface Reservation {
  /**
   * Makes sure that `bytes` more than what was used so far are promised. Throws `disk_full` if they can't be, and
   * `space_promised` if only what is promised to others is in the way.
   */
  ensure(bytes: number): Promise<void>
  /** Says that `bytes` of the promise are on the drive now. */
  used(bytes: number): void
  /** The drive had no room for `bytes` after all: gives back what is left and returns the `disk_full` to be thrown. */
  ranOut(bytes: number, cause: unknown): Promise<AppError>
  /** Gives back what is left. Idempotent. */
  release(): void
}

/** A drive with this much to spare is not asked again for every photo. */
const AMPLE_BYTES = 1024 ** 3
const AMPLE_MS = 1_000

/** Shares out the drive's free space among the uploads in flight, keeping `minFree` bytes untouched. */
export class Space {
  readonly #drive: Drive
  readonly #minFree: number
  #promised = 0
  /** What is promised to each holder that has something, upload by upload. */
  readonly #held = new Map<string, Set<{ left: number }>>()
  /** What the drive said last, less what was written since. */
  #free = 0
  #askedAt = Number.NEGATIVE_INFINITY

  constructor(drive: Drive, minFree: number) {
    this.#drive = drive
    this.#minFree = minFree
  }

  /**
   * Promises `bytes` (0 if the length is not known yet), or throws as `ensure` does, with what is needed and what is
   * free. To a `holder`, who only says that so much will come, 64 MB are promised ahead of what has come; and beside
   * the largest promise that he has, no more than half of the room that it leaves.
   */
  async reserve(bytes: number, holder?: string): Promise<Reservation> {
    const mine = { left: 0 }
    let toCome = bytes
    const promise = (more: number) => {
      this.#promised += more
      mine.left += more
      if (holder === undefined) return
      const held = this.#held.get(holder) ?? new Set()
      if (mine.left > 0) this.#held.set(holder, held.add(mine))
      else if (held.delete(mine) && held.size === 0) this.#held.delete(holder)
    }
    const ahead = () => (holder === undefined ? toCome : Math.min(toCome, PROMISED_AHEAD))
    const ensure = async (wanted: number, promised = wanted, mayHave = () => true): Promise<void> => {
      const more = wanted - mine.left
      if (more <= 0) return
      const isAmple = this.#available() - more > AMPLE_BYTES && performance.now() - this.#askedAt < AMPLE_MS
      if (!isAmple) await this.#ask()
      // No await between this sum and the promise: of two that ask at once, the second sees the first.
      const available = this.#available()
      if (more > available) throw this.#short(wanted, available, mine.left)
      if (!mayHave()) throw this.#short(wanted, available, mine.left)
      promise(promised - mine.left)
    }
    await ensure(bytes, ahead(), () => this.#isShare(ahead(), holder))
    return {
      ensure,
      used: (written) => {
        toCome = Math.max(0, toCome - written)
        promise(-Math.min(written, mine.left))
        this.#free -= written
        const more = ahead() - mine.left
        if (more > 0 && more <= this.#available()) promise(more)
      },
      ranOut: async (wanted, cause) => {
        promise(-mine.left)
        await this.#ask()
        return this.#full(wanted, this.#available(), cause)
      },
      release: () => {
        promise(-mine.left)
        toCome = 0
      },
    }
  }

  /** Whether `holder` may be promised `bytes` more: all there is for one upload, half of what it leaves for others. */
  #isShare(bytes: number, holder: string | undefined): boolean {
    if (holder === undefined) return true
    const held = [...(this.#held.get(holder) ?? [])].map(({ left }) => left).concat(bytes)
    const largest = Math.max(...held)
    const beside = held.reduce((sum, left) => sum + left, 0) - largest
    return beside <= (this.#available() + this.#promised - largest) / 2
  }

  async #ask(): Promise<void> {
    this.#free = (await diskUsage(this.#drive)).free
    this.#askedAt = performance.now()
  }

  #available(): number {
    return this.#free - this.#minFree - this.#promised
  }

  /** `own` of what is promised is the asker's. */
  #short(wanted: number, available: number, own: number): AppError {
    const others = this.#promised - own
    if (wanted - own > available + others) return this.#full(wanted, available)
    // One of these uploads may be the same one, on a connection that nobody knows to be dead yet.
    return new AppError(
      'space_promised',
      `There is no room for ${wanted} bytes beside the uploads that are under way: ${others} bytes are promised to them, ${Math.max(available, 0)} are free for photos. Send it again when they are over, in a minute.`,
    )
  }

  #full(wanted: number, available: number, cause?: unknown): AppError {
    return new AppError(
      'disk_full',
      `The drive is full: ${wanted} bytes are needed, ${Math.max(available, 0)} are free for photos (${this.#minFree} are kept free by MIN_FREE_SPACE, ${this.#promised} are promised to other uploads). Make room on the drive or use a larger one.`,
      { cause },
    )
  }
}
