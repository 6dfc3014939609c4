import type { Library } from '../archive/library.ts'
import { KeyedLock } from '../base/keyed-lock.ts'
import { checksumsIn, listMonths } from '../catalogue/journal-rows.ts'
import { AppError } from '../errors.ts'
import type { OriginalFacts } from '../format/journal-record.ts'
import { isMonthFolder, type LibraryPath, type MonthFolder, splitPath } from '../format/layout.ts'
import type { Checksum } from '../media/checksum.ts'
import { SumsFiles } from '../storage/sums.ts'

/** Keeps the SHA256SUMS of all month folders in step with the catalogue. */
export class SumsKeeper {
  readonly #library: Library
  readonly #files: SumsFiles
  readonly #lock = new KeyedLock()
  /** Folders whose file lacks something, or may. */
  readonly #doubtful = new Set<MonthFolder>()

  constructor(library: Library) {
    this.#library = library
    this.#files = new SumsFiles(library.drive, library.committer, library.now)
  }

  /** Whether every file says what it was told to say. */
  get isDone(): boolean {
    return this.#doubtful.size === 0
  }

  /** Forgets what was learnt about the drive; call it when that has come back. */
  forget(): void {
    this.#files.forget()
  }

  /** Adds originals that the catalogue has. What can't be added is left to `repair`. */
  async add(originals: readonly OriginalFacts[]): Promise<void> {
    const folders = new Map<MonthFolder, Map<string, Checksum>>()
    for (const { path, sha256 } of originals) {
      const { folder, name } = splitPath(path)
      if (sha256 === null || !isMonthFolder(folder)) continue
      const sums = folders.get(folder)
      if (sums === undefined) folders.set(folder, new Map([[name, sha256]]))
      else sums.set(name, sha256)
    }
    for (const [folder, sums] of folders) {
      const isAdded = await unlessItFails(this.#lock.run(folder, () => this.#files.add(folder, sums)))
      if (isAdded !== true) this.#doubtful.add(folder)
    }
  }

  /** Sees to it that originals that the catalogue does not have any more lose their lines. */
  remove(paths: readonly LibraryPath[]): void {
    this.doubt(paths.map((path) => splitPath(path).folder).filter(isMonthFolder))
  }

  /** Has `repair` read the files of these folders, whatever is known of them. */
  doubt(folders: readonly MonthFolder[]): void {
    for (const folder of folders) this.#doubtful.add(folder)
  }

  /** Mends what is in doubt, as far as it can be; then throws the first error that it met. */
  async repair(): Promise<void> {
    let first: AppError | undefined
    for (const folder of [...this.#doubtful]) {
      const failure = await this.#repair(folder)
      first ??= failure
    }
    if (first !== undefined) throw first
  }

  /**
   * Compares all files with the catalogue and mends them; one that can't be mended is left to `repair`. `pause` is
   * awaited before each; what it throws ends this.
   */
  async repairAll(pause: () => Promise<void>): Promise<void> {
    for (const folder of (await listMonths(this.#library.db)).filter(isMonthFolder)) {
      await pause()
      await this.#repair(folder)
    }
  }

  /** Throws if it is pointless to go on: the drive or the database is away. */
  async #repair(folder: MonthFolder): Promise<AppError | undefined> {
    this.#doubtful.delete(folder)
    try {
      await this.#lock.run(folder, async () => {
        await this.#files.repair(folder, await checksumsIn(this.#library.db, folder))
      })
      return undefined
    } catch (error) {
      this.#doubtful.add(folder)
      if (!(error instanceof AppError) || isAway(error)) throw error
      return error
    }
  }
}

/** Whether drive or database is not there at all: what fails now will work when they are back. */
export function isAway({ code }: AppError): boolean {
  return code === 'drive_missing' || code === 'database_unavailable'
}

async function unlessItFails<Result>(work: Promise<Result>): Promise<Result | undefined> {
  try {
    return await work
  } catch (error) {
    if (error instanceof AppError) return undefined
    throw error
  }
}
