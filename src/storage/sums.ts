import { AppError } from '../errors.ts'
import { type MonthFolder, pathIn, SUMS_FILE } from '../format/layout.ts'
import { isSumsName } from '../format/names.ts'
import { formatSum, type ParsedSums } from '../format/sums-format.ts'
import type { Checksum } from '../media/checksum.ts'
import type { Committer } from './commit.ts'
import type { Drive } from './drive.ts'
import { driveError, isMediumError, isSystemError } from './drive-error.ts'
import type { Entry } from './entry.ts'
import { io } from './io.ts'
import { lookAt, namesIn } from './look-at.ts'
import { quarantine } from './quarantine.ts'
import { readSums } from './read-sums.ts'
import { newDraft } from './staging.ts'
import { writeAll } from './write-all.ts'

/** The originals of a folder: name to checksum, null if it has not been read yet. */
export type Originals = ReadonlyMap<string, Checksum | null>

/** Names kept in mind, of all folders together: phones send one month after the other. */
const KEPT_NAMES = 50_000

interface Kept {
  /**
   * Of each name the first 32 bits of its checksum: a number takes no memory beside its name, and tells another one.
   */
  sums: Map<string, number>
  /** What the file looked like when it was last known to be right. */
  version: string
}

/**
 * Keeps a SHA256SUMS in each month folder. Calls for one folder must not overlap. All throw `drive_missing`,
 * `drive_error` and `disk_full`.
 */
export class SumsFiles {
  readonly #drive: Drive
  readonly #committer: Committer
  readonly #now: () => Date
  /** Files that are right, and what they say; those used last come last. */
  readonly #kept = new Map<MonthFolder, Kept>()

  constructor(drive: Drive, committer: Committer, now: () => Date) {
    this.#drive = drive
    this.#committer = committer
    this.#now = now
  }

  /** Forgets what was read; call it when the drive has come back. */
  forget(): void {
    this.#kept.clear()
  }

  /**
   * Sees to it that the folder's file has a line for each of `sums`, by appending, durably. Returns `false`, with
   * nothing done, where that won't do: the file is not known to be right (`repair` sees to that first), or it says
   * something else.
   */
  async add(folder: MonthFolder, sums: ReadonlyMap<string, Checksum>): Promise<boolean> {
    await this.#drive.checkTouched()
    const kept = this.#kept.get(folder)
    // What becomes of it is not known until all is done.
    this.#kept.delete(folder)
    try {
      if (kept === undefined || (await this.#version(folder)) !== kept.version) return false
      if ([...sums].some(([name, sum]) => (kept.sums.get(name) ?? bitsOf(sum)) !== bitsOf(sum))) return false
      const added = [...sums].filter(([name]) => !kept.sums.has(name))
      if (added.length > 0 && !(await this.#append(folder, added))) return false
      for (const [name, sum] of added) kept.sums.set(ownCopy(name), bitsOf(sum))
      await this.#keep(folder, kept.sums)
      return true
    } catch (error) {
      throw driveError(error, `${pathIn(folder, SUMS_FILE)} was being written`)
    }
  }

  /** Returns `false`, with nothing done, if the file is not this server's alone. */
  async #append(folder: MonthFolder, added: readonly (readonly [string, Checksum])[]): Promise<boolean> {
    const found = await io.openOwn(this.#entry(folder))
    if (found === undefined) return false
    const { file, size } = found
    try {
      const lines = added.map(([name, sum]) => formatSum(name, sum)).join('')
      await writeAll(file, [Buffer.from(lines)], size)
      await io.datasync(file)
    } finally {
      await io.close(file)
    }
    return true
  }

  /**
   * Compares the folder's file with `originals`, which are all that the catalogue has there, and replaces it as a
   * whole, atomically, if it lacks one, contradicts or has a line that can't be read. Lines of other files are kept
   * while those are there; without any line there is no file. One that can't be read any more is moved to quarantine,
   * unless it may be all that is known of an original. Does nothing where there is no such folder, or where an original
   * has that file's name.
   */
  async repair(folder: MonthFolder, originals: Originals): Promise<void> {
    if ([...originals.keys()].some(isSumsName)) return
    await this.#drive.checkTouched()
    this.#kept.delete(folder)
    try {
      const found = await this.#read(folder, originals)
      const wanted = await this.#wanted(folder, found?.sums ?? new Map(), originals)
      if (wanted === undefined) return
      const isRight = found === undefined ? wanted.size === 0 : found.isClean && isSame(found.sums, wanted)
      if (!isRight) await this.#replace(folder, wanted)
      const kept = new Map([...wanted].map(([name, sum]) => [ownCopy(name), bitsOf(sum)]))
      if (wanted.size > 0) await this.#keep(folder, kept)
    } catch (error) {
      throw driveError(error, `${pathIn(folder, SUMS_FILE)} was being written`)
    }
  }

  async #read(folder: MonthFolder, originals: Originals): Promise<ParsedSums | undefined> {
    try {
      return await readSums(this.#drive, folder)
    } catch (error) {
      const cause = error instanceof AppError ? error.cause : undefined
      const isRotten = isSystemError(cause) && cause.syscall === 'read' && isMediumError(cause)
      if (!isRotten || [...originals.values()].includes(null)) throw error
      await quarantine(this.#drive, pathIn(folder, SUMS_FILE), this.#now())
      return undefined
    }
  }

  /** What the file should say; `undefined` if there is no such folder. */
  async #wanted(
    folder: MonthFolder,
    found: ReadonlyMap<string, Checksum>,
    originals: Originals,
  ): Promise<Map<string, Checksum> | undefined> {
    const others = [...found].filter(([name]) => (originals.get(name) ?? null) === null)
    const listed = await namesIn(this.#drive.at(folder))
    if (listed === undefined) return undefined
    const names = new Set(listed)
    const known = [...originals].flatMap(([name, sum]) => (sum === null ? [] : [[name, sum] as const]))
    return new Map([...others.filter(([name]) => names.has(name)), ...known])
  }

  async #replace(folder: MonthFolder, sums: ReadonlyMap<string, Checksum>): Promise<void> {
    if (sums.size === 0) return io.unlink(this.#entry(folder))
    const lines = [...sums].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, sum]) => formatSum(name, sum))
    await this.#committer.write(pathIn(folder, SUMS_FILE), newDraft('sums'), Buffer.from(lines.join('')))
  }

  async #keep(folder: MonthFolder, sums: Map<string, number>): Promise<void> {
    const version = await this.#version(folder)
    if (version === undefined) return
    this.#kept.set(folder, { sums, version })
    let names = [...this.#kept.values()].reduce((count, kept) => count + kept.sums.size, 0)
    for (const [oldest, kept] of this.#kept) {
      if (names <= KEPT_NAMES || oldest === folder) break
      this.#kept.delete(oldest)
      names -= kept.sums.size
    }
  }

  /** Changes whenever somebody writes to the file; `undefined` if there is none. */
  async #version(folder: MonthFolder): Promise<string | undefined> {
    const found = await lookAt(this.#entry(folder))
    return found && `${found.size}:${found.mtimeNs}`
  }

  #entry(folder: MonthFolder): Entry {
    return this.#drive.at(pathIn(folder, SUMS_FILE))
  }
}

function isSame(a: ReadonlyMap<string, Checksum>, b: ReadonlyMap<string, Checksum>): boolean {
  return a.size === b.size && [...a].every(([name, sum]) => b.get(name) === sum)
}

function bitsOf(checksum: Checksum): number {
  return Number.parseInt(checksum.slice(0, 8), 16) | 0
}

/** V8 keeps the whole text that a name was cut out of for as long as the name. */
function ownCopy(name: string): string {
  return Buffer.from(name).toString()
}
