import { hasErrno } from '../errors.ts'
import type { Drive } from './drive.ts'
import { driveError } from './drive-error.ts'
import { io } from './io.ts'
import type { MonthFolder } from './layout.ts'
import { nameKey, numberedName, splitName } from './names.ts'

/** Listings kept; phones send one month after the other, so a few are enough. */
const KEPT_LISTINGS = 8

interface Listing {
  /** The folder's time of change when it was listed, in ns; another one means that somebody else wrote there. */
  changed: bigint | undefined
  names: Map<string, string>
  /** For a name's key, the lowest number that may be free: without it, the thousandth photo of one name tries them all. */
  nextNumber: Map<string, number>
}

/**
 * Knows which names are taken in the month folders, without regard to case or Unicode form: what lies on the drive, whoever put it
 * there, and what the catalogue says should lie there. Calls for one folder must not overlap (the folder lock).
 */
export class FolderNames {
  readonly #drive: Drive
  readonly #catalogued: (folder: MonthFolder) => Promise<readonly string[]>
  readonly #listings = new Map<MonthFolder, Listing>()

  /** `catalogued` returns the names that the catalogue has in a folder. */
  constructor(drive: Drive, catalogued: (folder: MonthFolder) => Promise<readonly string[]>) {
    this.#drive = drive
    this.#catalogued = catalogued
  }

  /** Forgets all listings; call it when the drive has come back. */
  forget(): void {
    this.#listings.clear()
  }

  /**
   * The first free one of `name`, `name (2)`, `name (3)`… in `folder`. With `wholeStem`, names that differ only in their
   * extension count as taken too, so that both halves of a Live Photo will find room.
   * Returns the taken names that were passed over as well, as they are spelt on the drive: one may be what is being stored.
   */
  async firstFree(
    folder: MonthFolder,
    name: string,
    wholeStem = false,
  ): Promise<{ name: string; passed: readonly string[] }> {
    const listing = await this.#listing(folder)
    const stems = wholeStem ? new Set([...listing.names.values()].map(stemKey)) : undefined
    const hint = nameKey(name)
    const passed: string[] = []
    const start = stems === undefined ? (listing.nextNumber.get(hint) ?? 1) : 1
    for (let n = start; ; n++) {
      const candidate = numberedName(name, n)
      const holder = listing.names.get(nameKey(candidate))
      if (holder !== undefined) passed.push(holder)
      else if (stems === undefined || !stems.has(stemKey(candidate))) {
        if (stems === undefined) listing.nextNumber.set(hint, n)
        return { name: candidate, passed }
      }
    }
  }

  /** Whether `name` is free in `folder`. */
  async isFree(folder: MonthFolder, name: string): Promise<boolean> {
    return !(await this.#listing(folder)).names.has(nameKey(name))
  }

  /** Notes that this server has just taken `name` in `folder`, so that the folder need not be listed again. */
  noteTaken(folder: MonthFolder, name: string): void {
    const listing = this.#listings.get(folder)
    if (listing === undefined) return
    listing.names.set(nameKey(name), name)
    listing.changed = this.#changed(folder)
  }

  async #listing(folder: MonthFolder): Promise<Listing> {
    const changed = this.#changed(folder)
    const kept = this.#listings.get(folder)
    this.#listings.delete(folder)
    const listing = kept !== undefined && kept.changed === changed ? kept : await this.#list(folder, changed)
    this.#listings.set(folder, listing)
    for (const oldest of this.#listings.keys()) {
      if (this.#listings.size <= KEPT_LISTINGS) break
      this.#listings.delete(oldest)
    }
    return listing
  }

  async #list(folder: MonthFolder, changed: bigint | undefined): Promise<Listing> {
    const catalogued = await this.#catalogued(folder)
    const names = new Map(catalogued.map((name) => [nameKey(name), name]))
    try {
      if (changed !== undefined) {
        for (const name of await io.readdir(this.#drive.resolve(folder))) names.set(nameKey(name), name)
      }
    } catch (error) {
      throw driveError(error, `the folder ${folder} was being listed`)
    }
    return { changed, names, nextNumber: new Map() }
  }

  /** When the folder last changed; `undefined` if it does not exist. The upload at hand has just been flushed to the drive. */
  #changed(folder: MonthFolder): bigint | undefined {
    try {
      return io.statTouched(this.#drive.resolve(folder)).mtimeNs
    } catch (error) {
      if (hasErrno(error, 'ENOENT')) return undefined
      throw driveError(error, `the folder ${folder} was being looked at`)
    }
  }
}

function stemKey(name: string): string {
  return nameKey(splitName(name).stem)
}
