import { AppError, hasErrno } from '../errors.ts'
import { type LibraryPath, splitPath } from '../format/layout.ts'
import { discard } from './discard.ts'
import type { Drive } from './drive.ts'
import { driveError } from './drive-error.ts'
import type { Entry } from './entry.ts'
import { FolderSync } from './folder-sync.ts'
import { CREATE, io } from './io.ts'
import { lookAt } from './look-at.ts'
import { type Content, writeWhole } from './write-whole.ts'

/** What a file system answers to `link` when it has no hard links: exFAT, FAT, some network and FUSE file systems. */
const NO_HARD_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'] as const

/**
 * Gives staged originals their permanent names. The recipe, whose order is the promise: the bytes are durable already;
 * `takeName` gives the name exclusively; `settle` makes the name durable, or gives it back. Only then may a row say
 * that the original is there.
 */
export class Committer {
  readonly #drive: Drive
  #folders: FolderSync
  /** Folders whose own names are known to be durable, so that only the first photo of a month flushes its year. */
  readonly #durable = new Set<string>()
  /** Names taken and not settled yet, each with the failed flushes of its folder before. */
  readonly #taken = new Map<LibraryPath, number>()

  constructor(drive: Drive) {
    this.#drive = drive
    this.#folders = this.#newFolderSync()
  }

  /** Forgets what was learnt about the drive; call it when the drive has come back. */
  forget(): void {
    this.#durable.clear()
    this.#folders = this.#newFolderSync()
  }

  #newFolderSync(): FolderSync {
    return new FolderSync((folder) => this.#drive.touched.syncFolder(this.#drive.touchedAt(folder)))
  }

  /**
   * Makes a folder of the library, such as a month's, where it is missing, and those above it. The drive is checked
   * first: under an empty mount point nothing is made.
   */
  async makeFolder(folder: string): Promise<void> {
    await this.#drive.checkTouched()
    if (this.#durable.has(folder)) return
    try {
      for (const path of pathsDownTo(folder)) await io.mkdir(this.#drive.touchedAt(path))
    } catch (error) {
      throw driveError(error, `the folder ${folder} was being made`)
    }
  }

  /** The same, when somebody has removed the folder since it was made. */
  async makeFolderAgain(folder: string): Promise<void> {
    this.#durable.delete(folder)
    await this.makeFolder(folder)
  }

  /**
   * Gives the staged file (relative to the library) the permanent name `path`. Never overwrites: throws `name_taken` if
   * the name is in use. The staged name may remain beside it. Not durable before `settle`.
   */
  async takeName(staged: string, path: LibraryPath): Promise<void> {
    try {
      await this.#takeName(staged, path).catch(async (error: unknown) => {
        if (!hasErrno(error, 'ENOENT')) throw error
        await this.makeFolderAgain(splitPath(path).folder)
        await this.#takeName(staged, path)
      })
    } catch (error) {
      throw hasErrno(error, 'EEXIST') ? nameTaken(path) : driveError(error, `${path} was being given its name`)
    }
  }

  async #takeName(staged: string, path: LibraryPath): Promise<void> {
    const failures = this.#folders.failures(splitPath(path).folder)
    await linkOrRename(this.#drive.touchedAt(staged), this.#drive.touchedAt(path))
    this.#taken.set(path, failures)
  }

  /**
   * Returns once the name `path` would survive a power cut, and those of the folders it lies in. When that fails, a
   * name taken just now is given back: it may be lost, and taking it anew is what makes the system write it again.
   * Throws `drive_error`, `disk_full`.
   */
  async settle(path: LibraryPath): Promise<void> {
    const taken = this.#taken.get(path)
    this.#taken.delete(path)
    const { folder } = splitPath(path)
    try {
      if (taken === undefined) await this.#flush(folder)
      else await this.#folders.sync(folder, taken)
      await this.settleFolder(folder)
    } catch (error) {
      if (taken !== undefined) await this.#giveBack(path)
      throw error
    }
  }

  /**
   * Returns once the name of a folder would survive a power cut, and those of the folders it lies in. Throws as
   * `settle`.
   */
  async settleFolder(folder: string): Promise<void> {
    const settled: string[] = []
    for (let below = folder; !this.#durable.has(below) && below !== ''; below = splitPath(below).folder) {
      await this.#flush(splitPath(below).folder)
      settled.push(below)
    }
    // Not one by one: a month is as durable as the year that it lies in.
    for (const below of settled) this.#durable.add(below)
  }

  /**
   * Gives a draft (relative to the library), whose bytes are durable, the name `path`, in the place of whatever has it;
   * returns once that would survive a power cut. Not for originals, which replace nothing.
   */
  async replace(draft: string, path: LibraryPath): Promise<void> {
    const { folder } = splitPath(path)
    const failures = this.#folders.failures(folder)
    await io.rename(this.#drive.touchedAt(draft), this.#drive.touchedAt(path))
    await this.#folders.sync(folder, failures)
  }

  /**
   * Writes a new file of the server's own at `path`; returns once it would survive a power cut with its name. Throws
   * `EEXIST` if the name is in use; what fails otherwise is removed. System errors pass.
   */
  async create(path: string, content: Content): Promise<void> {
    const { folder } = splitPath(path)
    const failures = this.#folders.failures(folder)
    let isMade = false
    try {
      await writeWhole(this.#drive.at(path), content, async (entry) => {
        const file = await this.#create(entry)
        isMade = true
        return file
      })
      await this.#folders.sync(folder, failures)
      await this.settleFolder(folder)
    } catch (error) {
      // What was there before is not ours to remove.
      if (isMade) await discard(this.#drive.at(path))
      throw error
    }
  }

  /**
   * The same, in the place of whatever has the name `path`: it is written as `draft`, so that at any moment, after a
   * power cut too, the file is the one before or all of this.
   */
  async write(path: LibraryPath, draft: string, content: Content): Promise<void> {
    try {
      await writeWhole(this.#drive.at(draft), content, (entry) => this.#create(entry))
      await this.#drive.checkTouched()
      await this.replace(draft, path)
      await this.settleFolder(splitPath(path).folder)
    } catch (error) {
      await discard(this.#drive.at(draft))
      throw error
    }
  }

  async #create(entry: Entry): Promise<number> {
    try {
      return await io.open(entry, CREATE)
    } catch (error) {
      if (!hasErrno(error, 'ENOENT')) throw error
    }
    // It is the first there, or somebody has removed the folder.
    const { folder } = splitPath(entry.path)
    this.#durable.delete(folder)
    await this.#drive.makeOwnFolder(folder)
    return io.open(entry, CREATE)
  }

  /** Flushes a folder for names that were there before. */
  #flush(folder: string): Promise<void> {
    return this.#folders.sync(folder, this.#folders.failures(folder))
  }

  /** If that fails, it stays, without a row, as if the server had been killed here. */
  async #giveBack(path: LibraryPath): Promise<void> {
    try {
      await this.#drive.checkTouched()
      await io.unlink(this.#drive.touchedAt(path))
    } catch (error) {
      if (!(error instanceof AppError) && !hasErrno(error)) throw error
    }
  }
}

async function linkOrRename(staged: Entry, target: Entry): Promise<void> {
  try {
    return await io.link(staged, target)
  } catch (error) {
    if (!hasErrno(error, ...NO_HARD_LINKS)) throw error
  }
  // Without hard links there is no exclusive rename to be had from Node. The name is free as far as this server
  // goes, which holds the folder's lock; another program would have to take it between these two calls.
  if ((await lookAt(target)) !== undefined) throw nameTaken(target.path)
  await io.rename(staged, target)
}

/** `2024`, then `2024/07`. */
function pathsDownTo(folder: string): string[] {
  return folder === '' ? [] : [...pathsDownTo(splitPath(folder).folder), folder]
}

function nameTaken(path: string): AppError {
  return new AppError('name_taken', `There is a file named ${path} in the library already.`)
}
