import { AppError, hasErrno } from '../errors.ts'
import type { Drive } from './drive.ts'
import { driveError } from './drive-error.ts'
import { FolderSync } from './folder-sync.ts'
import { exists } from './identity.ts'
import { io } from './io.ts'
import { type LibraryPath, type MonthFolder, splitPath } from './layout.ts'

/** What a file system answers to `link` when it has no hard links: exFAT, FAT, some network and FUSE file systems. */
const NO_HARD_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'] as const

/**
 * Gives staged originals their permanent names. The recipe, whose order is the promise: the bytes are durable already;
 * `takeName` gives the name exclusively; `settle` makes the name durable. Only then may a row say that the original is there.
 */
export class Committer {
  readonly #drive: Drive
  #folders: FolderSync
  /** Folders whose own names are known to be durable, so that only the first photo of a month flushes its year. */
  readonly #durable = new Set<string>()

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
    return new FolderSync((folder) => this.#drive.touched.syncFolder(folder))
  }

  /** Makes a month's folder where it is missing. The drive is checked first: under an empty mount point nothing is made. */
  async makeFolder(folder: MonthFolder): Promise<void> {
    await this.#drive.checkTouched()
    if (this.#durable.has(folder)) return
    try {
      for (const path of [splitPath(folder).folder, folder]) {
        await io.mkdir(this.#drive.resolve(path)).catch((error: unknown) => {
          if (!hasErrno(error, 'EEXIST')) throw error
        })
      }
    } catch (error) {
      throw driveError(error, `the folder ${folder} was being made`)
    }
  }

  /**
   * Gives the staged file (absolute path) the permanent name `path`. Never overwrites: throws `name_taken` if the name is in
   * use. The staged name may remain beside it. Not durable before `settle`.
   */
  async takeName(staged: string, path: LibraryPath): Promise<void> {
    try {
      await this.#takeName(staged, path).catch(async (error: unknown) => {
        if (!hasErrno(error, 'ENOENT')) throw error
        // Somebody has removed the folder since it was made.
        const { folder } = splitPath(path)
        this.#durable.delete(folder)
        await this.makeFolder(folder as MonthFolder)
        await this.#takeName(staged, path)
      })
    } catch (error) {
      throw hasErrno(error, 'EEXIST') ? nameTaken(path) : driveError(error, `${path} was being given its name`)
    }
  }

  async #takeName(staged: string, path: LibraryPath): Promise<void> {
    const target = this.#drive.resolve(path)
    try {
      return await io.link(staged, target)
    } catch (error) {
      if (!hasErrno(error, ...NO_HARD_LINKS)) throw error
    }
    // Without hard links there is no exclusive rename to be had from Node. The name is free as far as this server
    // goes, which holds the folder's lock; another program would have to take it between these two calls.
    if (await exists(target)) throw nameTaken(path)
    await io.rename(staged, target)
  }

  /** Returns once the name `path` would survive a power cut, and those of the folders it lies in. */
  async settle(path: LibraryPath): Promise<void> {
    const { folder } = splitPath(path)
    await this.#folders.sync(this.#drive.resolve(folder))
    for (let below = folder; !this.#durable.has(below) && below !== ''; ) {
      const above = splitPath(below).folder
      await this.#folders.sync(this.#drive.resolve(above))
      this.#durable.add(below)
      below = above
    }
  }
}

function nameTaken(path: LibraryPath): AppError {
  return new AppError('name_taken', `There is a file named ${path} in the library already.`)
}
