import type { Library } from '../archive/library.ts'
import { checksumsIn } from '../catalogue/journal-rows.ts'
import { AppError, isAway } from '../errors.ts'
import type { OriginalFacts } from '../format/journal-record.ts'
import { isMonthFolder, type LibraryPath, type MonthFolder, splitPath } from '../format/layout.ts'
import type { Checksum } from '../media/checksum.ts'
import { SumsFiles } from '../storage/sums.ts'

/** Keeps the SHA256SUMS of all month folders in step with the catalogue. */
export class SumsKeeper {
  readonly #library: Library
  readonly #files: SumsFiles

  constructor(library: Library) {
    this.#library = library
    this.#files = new SumsFiles(library.drive, library.committer, library.now)
  }

  /** Forgets what was learnt about the drive; call it when that has come back. */
  forget(): void {
    this.#files.forget()
  }

  /** Adds originals that the catalogue has. Returns the folders whose file has to be compared instead (`repair`). */
  async add(originals: readonly OriginalFacts[]): Promise<MonthFolder[]> {
    const folders = new Map<MonthFolder, Map<string, Checksum>>()
    for (const { path, sha256 } of originals) {
      const { folder, name } = splitPath(path)
      if (sha256 === null || !isMonthFolder(folder)) continue
      const sums = folders.get(folder)
      if (sums === undefined) folders.set(folder, new Map([[name, sha256]]))
      else sums.set(name, sha256)
    }
    const doubtful: MonthFolder[] = []
    for (const [folder, sums] of folders) {
      if (!(await this.#isAdded(folder, sums))) doubtful.push(folder)
    }
    return doubtful
  }

  async #isAdded(folder: MonthFolder, sums: ReadonlyMap<string, Checksum>): Promise<boolean> {
    try {
      return await this.#files.add(folder, sums)
    } catch (error) {
      if (error instanceof AppError) return false
      throw error
    }
  }

  /**
   * Compares the file of `folder` with the catalogue and mends it. Returns why that could not be done. Throws if it is
   * pointless to go on with others: the drive or the database is away.
   */
  async repair(folder: string): Promise<AppError | undefined> {
    if (!isMonthFolder(folder)) return undefined
    try {
      await this.#files.repair(folder, await checksumsIn(this.#library.db, folder))
      return undefined
    } catch (error) {
      if (!(error instanceof AppError) || isAway(error)) throw error
      return error
    }
  }
}

/** The month folders that these lie in. */
export function monthsOf(paths: readonly LibraryPath[]): MonthFolder[] {
  return [...new Set(paths.map((path) => splitPath(path).folder).filter(isMonthFolder))]
}
