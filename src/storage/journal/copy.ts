import { JOURNAL_FILE_BYTES } from '../../base/budgets.ts'
import { hasErrno } from '../../errors.ts'
import { type JournalFile, journalFiles } from '../../format/journal-files.ts'
import { JOURNAL_FOLDER, type LibraryPath, PRIVATE_FOLDER } from '../../format/layout.ts'
import type { Committer } from '../commit.ts'
import { copyInto, SourceError } from '../copy.ts'
import { discard } from '../discard.ts'
import type { Drive } from '../drive.ts'
import { driveError } from '../drive-error.ts'
import type { Entry } from '../entry.ts'
import { io, READ } from '../io.ts'
import { lookAt, namesIn } from '../look-at.ts'
import { Space } from '../space.ts'
import { StagedFile } from '../staging.ts'

/** What is compared of each end of a file that another run has copied. */
const END_BYTES = 4096
/** A snapshot that is written at the same moment changes which files there are. */
const MAX_ROUNDS = 5

/**
 * Keeps a copy of the journal of `from` on `to`. Files are replaced as a whole, which costs little: logs have a few
 * megabytes. At every moment, after a power cut too, the copy is a journal that can be read, of an earlier time.
 */
export class JournalCopy {
  readonly #from: Drive
  readonly #to: Drive
  readonly #committer: Committer
  /** The journal matters more than the space that is kept free. */
  readonly #space: Space
  /** The files that are the same on both drives, durable, as versions of the one on `from`. */
  readonly #copied = new Map<string, string>()
  /** Whether a flush has failed: what looks the same may be lost at a power cut. */
  #isDoubtful = false

  /** `committer` is that of `to`. */
  constructor(from: Drive, to: Drive, committer: Committer) {
    this.#from = from
    this.#to = to
    this.#committer = committer
    this.#space = new Space(to, 0)
  }

  /**
   * Copies what is new or has grown, then removes what a snapshot on `from` has replaced. Returns whether there was
   * anything to do. Throws what the drives throw; the next call goes on. `pause` is awaited between chunks.
   */
  async update(pause?: () => Promise<void>): Promise<boolean> {
    try {
      let files = await this.#list(this.#from)
      let isChanged = false
      for (let round = 1; files.length > 0 && round <= MAX_ROUNDS; round++) {
        for (const file of files) if (await this.#copy(file, pause)) isChanged = true
        const now = await this.#list(this.#from)
        if (namesOf(now).join() === namesOf(files).join()) return (await this.#removeOthers(files)) || isChanged
        files = now
      }
      return isChanged
    } catch (error) {
      this.#isDoubtful = true
      throw error instanceof SourceError ? error.cause : driveError(error, 'the journal was being copied')
    }
  }

  /** Returns `false` if there was nothing to do. */
  async #copy(file: JournalFile, pause?: () => Promise<void>): Promise<boolean> {
    const version = await versionOf(this.#from, file)
    // A snapshot may have replaced it since the folder was listed.
    if (version === undefined || this.#copied.get(file.name) === version) return false
    const isNew = this.#isDoubtful || !(await this.#isSame(file))
    try {
      if (isNew) await this.#replace(file, pause)
    } catch (error) {
      if ((await versionOf(this.#from, file)) === undefined) return false
      throw error
    }
    this.#copied.set(file.name, version)
    return isNew
  }

  async #replace(file: JournalFile, pause?: () => Promise<void>): Promise<void> {
    const size = Number((await io.lstat(this.#from.at(file.path))).size)
    await this.#to.checkTouched()
    const copy = new StagedFile(this.#to, await this.#space.reserve(size))
    try {
      await copyInto(copy, this.#from, file.path, { limit: JOURNAL_FILE_BYTES, pause })
      const staged = await copy.finish()
      await staged.durable
      await this.#to.checkTouched()
      await this.#makeFolder()
      await this.#committer.replace(staged.path, file.path as LibraryPath)
    } finally {
      await copy.discard()
    }
  }

  async #makeFolder(): Promise<void> {
    const made = await this.#to.makeOwnFolder(JOURNAL_FOLDER)
    if (made !== undefined) await this.#to.touched.syncFolder(this.#to.touchedAt(PRIVATE_FOLDER))
  }

  /** Whether the copy of an earlier run is still what it should be: journals only grow, and are never written over. */
  async #isSame({ path }: JournalFile): Promise<boolean> {
    try {
      const [original, copy] = [await ends(this.#from.at(path)), await ends(this.#to.at(path))]
      return original.size === copy.size && original.bytes.equals(copy.bytes)
    } catch (error) {
      if (hasErrno(error, 'ENOENT')) return false
      throw error
    }
  }

  /** Removes what `files` replace: nothing, unless there is a snapshot among them, which is whole. */
  async #removeOthers(files: readonly JournalFile[]): Promise<boolean> {
    if (!files.some(({ kind }) => kind === 'snapshot')) return false
    const names = namesOf(files)
    const others = (await this.#list(this.#to)).filter(({ name }) => !names.includes(name))
    if (others.length > 0) await this.#to.checkTouched()
    for (const { path, name } of others) {
      await discard(this.#to.at(path))
      this.#copied.delete(name)
    }
    return others.length > 0
  }

  async #list(drive: Drive): Promise<JournalFile[]> {
    await drive.checkTouched()
    return journalFiles((await namesIn(drive.at(JOURNAL_FOLDER))) ?? [])
  }
}

function namesOf(files: readonly JournalFile[]): string[] {
  return files.map(({ name }) => name)
}

/** Another one after each change; `undefined` if there is no such file. */
async function versionOf(drive: Drive, { path }: JournalFile): Promise<string | undefined> {
  const found = await lookAt(drive.at(path))
  // What is not the server's is not copied: whoever reads the journal tells of it.
  if (!found?.isFile() || found.size > JOURNAL_FILE_BYTES) return undefined
  const { ino, size, mtimeNs } = found
  return `${ino}:${size}:${mtimeNs}`
}

/** The size of a file, and its first and last bytes. */
async function ends(entry: Entry): Promise<{ size: number; bytes: Buffer }> {
  const file = await io.open(entry, READ)
  try {
    const size = Number((await io.lstat(entry)).size)
    const parts: Buffer[] = []
    for (const position of [0, Math.max(0, size - END_BYTES)]) {
      const buffer = Buffer.allocUnsafe(END_BYTES)
      const { bytesRead } = await io.read(file, buffer, 0, END_BYTES, position)
      parts.push(buffer.subarray(0, bytesRead))
    }
    return { size, bytes: Buffer.concat(parts) }
  } finally {
    await io.close(file)
  }
}
