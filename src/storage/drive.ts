/*
 * storage/: Files on a drive that comes and goes: identity, staging, commit, reading back, quarantine. It knows no
 * catalogue.
 */

import type { BigIntStats } from 'node:fs'
import { join } from 'node:path'
import { withResolvers } from '../base/resolvers.ts'
import { AppError, hasErrno } from '../errors.ts'
import { IDENTITY_FILE, PRIVATE_FOLDER } from '../format/layout.ts'
import { driveError } from './drive-error.ts'
import { type DriveRole, libraryDrive, missingDrive } from './drive-role.ts'
import { type Entry, foldersAbove, Root } from './entry.ts'
import { readIdentity } from './identity.ts'
import { io } from './io.ts'
import { lookAt } from './look-at.ts'
import { ELSEWHERE, type Touched, touchedOn } from './touched.ts'
import type { Whereabouts } from './whereabouts.ts'

const LATELY_MS = 1_000
/** A disk that sleeps answers within this time. */
const ANSWER_MS = 30_000

/** What changed about a drive, for whoever must act on it. */
export interface DriveEvents {
  /** The library can't be used any more; `reason` says why. Called once per absence. */
  onMissing(reason: AppError): void
  /** The library is back, perhaps as another device: what was remembered about its folders no longer holds. */
  onReturned(): void
}

/**
 * The external drive, as a library of a known identity in the folder `root`. Holds nothing open, so that the drive can
 * be unmounted and may sleep.
 */
export class Drive {
  readonly root: string
  readonly id: string
  /** The library's folder, as whatever touches the drive knows it. */
  readonly files: Root
  /** Names in staging that belong to uploads in flight. */
  readonly inFlight = new Set<string>()
  readonly #events: DriveEvents
  #role: DriveRole
  /** The version of the identity file when it was last read and right; `undefined` while the drive is away. */
  #seen: string | undefined
  #away = false
  #touched: Touched = ELSEWHERE
  #checkedAt = Number.NEGATIVE_INFINITY
  #begun = 0
  /** Of the checks whose outcome has counted, the one that began last. */
  #newest = 0

  constructor(root: string, id: string, events: DriveEvents, role: DriveRole = libraryDrive()) {
    this.root = root
    this.files = new Root(root)
    this.id = id
    this.#events = events
    this.#role = role
  }

  /** It is there now: what is found in its place when it is not is told by that. */
  noteWhereabouts(lastSeen: Whereabouts): void {
    this.#role = { ...this.#role, lastSeen }
  }

  /** Whether the last check found the library. */
  get isPresent(): boolean {
    return this.#seen !== undefined
  }

  /** What is quick on this drive. */
  get touched(): Touched {
    return this.#touched
  }

  /** Something in the library, relative to it. */
  at(path: string): Entry {
    return this.files.at(path)
  }

  /** The same, when it was touched a moment ago. */
  touchedAt(path: string): Entry {
    return this.files.at(path, true)
  }

  /** The absolute path of something in the library, to be told to people. */
  resolve(path: string): string {
    return join(this.root, path)
  }

  /**
   * Makes sure that the library is there: one `stat`, unless the device changed. Throws `drive_missing` (of a mirror
   * `mirror_missing`) if the folder has no identity or another one, `drive_error` if the drive can't be read.
   */
  async check(): Promise<void> {
    const number = ++this.#begun
    try {
      await this.answered(() => this.#check(number))
    } catch (error) {
      const reason = driveError(error, 'its library was being looked for')
      if (this.#counts(number)) this.#setAway(reason)
      throw reason
    }
  }

  /** The same, for when the drive has answered a moment ago. */
  async checkTouched(): Promise<void> {
    try {
      const look = () => io.lstat(this.touchedAt(IDENTITY_FILE))
      const found = await (this.files.isLocal ? look() : this.answered(look))
      if (versionOf(found) === this.#seen) return
    } catch (error) {
      if (!hasErrno(error) && !(error instanceof AppError)) throw error
    }
    await this.check()
  }

  /**
   * The same, unless a check succeeded within the last second: for what need not be certain before anything is written.
   */
  async checkLately(): Promise<void> {
    if (this.#seen === undefined || performance.now() - this.#checkedAt > LATELY_MS) await this.check()
  }

  /**
   * Makes sure that the library is there, that this account may write to it, as far as the system tells without
   * touching the drive, and that nothing which was found strange is so still. Throws what `check` throws.
   */
  async checkWritable(): Promise<void> {
    await this.check()
    try {
      await this.answered(async () => {
        for (const folder of [this.root, join(this.root, PRIVATE_FOLDER)]) await io.mayWrite(folder)
        const strange = await this.files.findStrange()
        if (strange !== undefined) throw strange
      })
    } catch (error) {
      throw driveError(error, 'it was being looked at')
    }
  }

  /**
   * Makes a folder of the library's own, `path` relative to its root, with those above it up to `.iclood`: that one
   * came with the library's identity, and where it is missing the drive has just gone, and nothing may be made in its
   * place. Returns the first one that it has made; `undefined` if all were there. Throws `StrangeEntry`; system errors
   * pass.
   */
  async makeOwnFolder(path: string): Promise<string | undefined> {
    let first: string | undefined
    for (const folder of [...foldersAbove(path), path].filter((one) => one.startsWith(`${PRIVATE_FOLDER}/`))) {
      if (await io.mkdir(this.at(folder))) first ??= folder
    }
    return first
  }

  /**
   * What `look` finds on the drive, waited for as long as a drive may take. A look can wait behind long flushes of a
   * slow drive, for a thread: it is silent when none of those has ended for that long, either. While the drive owes an
   * answer nothing more is asked of it. Throws `drive_error` when it is silent; what `look` throws passes.
   */
  async answered<Result>(look: () => Promise<Result>): Promise<Result> {
    if (this.files.answers.owed > 0) throw silent()
    const began = performance.now()
    const looking = look()
    const answer = looking.then((result) => ({ result }))
    for (let wait = ANSWER_MS; wait > 0; ) {
      const late = withResolvers<undefined>()
      const timer = setTimeout(late.resolve, wait, undefined)
      const first = await Promise.race([answer, late.promise]).finally(() => clearTimeout(timer))
      if (first !== undefined) return first.result
      wait = Math.max(began, this.files.answers.endedAt) + ANSWER_MS - performance.now()
    }
    this.files.answers.owed++
    // It has been told that there was none.
    looking.catch(() => {}).finally(() => this.files.answers.owed--)
    throw silent()
  }

  /** Whether this check is of no older moment than what is known; several may be under way. */
  #counts(number: number): boolean {
    if (number < this.#newest) return false
    this.#newest = number
    return true
  }

  #setAway(reason: AppError): void {
    this.#seen = undefined
    if (this.#away) return
    this.#away = true
    this.#events.onMissing(reason)
  }

  async #check(number: number): Promise<void> {
    // What UPLOAD_FOLDER leads to may be another place, or another drive, than before.
    if (await this.#hasMoved()) this.files.letGo()
    const seen = versionOf(await this.#statIdentity())
    if (seen !== this.#seen && (await readIdentity(this.root)) !== this.id) {
      throw await missingDrive(this.#role, this.root, this.id)
    }
    const touched = seen === this.#seen ? this.#touched : await touchedOn(this.root)
    if (!this.#counts(number)) return

    this.#checkedAt = performance.now()
    if (seen === this.#seen) return

    this.#touched = touched
    this.files.isLocal = touched !== ELSEWHERE
    const isReturn = this.#away || this.#seen !== undefined
    this.#seen = seen
    this.#away = false
    if (isReturn) this.#events.onReturned()
  }

  async #hasMoved(): Promise<boolean> {
    try {
      return await this.files.hasMoved()
    } catch (error) {
      if (hasErrno(error, 'ENOENT', 'ENOTDIR')) throw await missingDrive(this.#role, this.root, this.id)
      throw error
    }
  }

  async #statIdentity() {
    const found = await lookAt(this.at(IDENTITY_FILE))
    if (found === undefined) throw await missingDrive(this.#role, this.root, this.id)
    return found
  }
}

function silent(): AppError {
  return new AppError(
    'drive_error',
    'The drive does not answer. Check its cable and its health; if it is reached over a network, that. All goes on by ' +
      'itself when it answers again.',
  )
}

/** What changes when another drive is mounted, and when the file is written anew. */
function versionOf({ dev, ino, mtimeNs }: BigIntStats): string {
  return `${dev}:${ino}:${mtimeNs}`
}
