import { type MonthFolder, SUMS_FILE } from '../format/layout.ts'
import { nameKey, numberedName, splitName } from '../format/names.ts'
import { EDITS, mediaTypeByName } from '../media/media-type.ts'
import type { Drive } from './drive.ts'
import { driveError } from './drive-error.ts'
import { lookAt, namesIn } from './look-at.ts'
import { isOriginalName } from './month-folders.ts'

/** Listings kept; phones send one month after the other, so a few are enough. */
const KEPT_LISTINGS = 8

interface Listing {
  /** The folder's time of change when it was listed, in ns; another one means that somebody else wrote there. */
  changed: bigint | undefined
  /** The keys of all names (`nameKey`). */
  names: Set<string>
  /** Those of the names that the catalogue does not have, and that may be originals. */
  strangers: readonly string[]
  /** The keys of all names without their extensions; made when it is first needed. */
  stems: Set<string> | undefined
  /**
   * For a name's key, the lowest number that may be free, if it isn't 1: without it, the thousandth photo of one name
   * tries them all.
   */
  nextNumber: Map<string, number>
}

/**
 * Knows which names are taken in the month folders, without regard to case or Unicode form: what lies on the drive,
 * whoever put it there, what the catalogue says should lie there, and that of the folder's SHA256SUMS. Calls for one
 * folder must not overlap (the folder lock).
 */
export class FolderNames {
  readonly #drive: Drive
  readonly #catalogued: (folder: MonthFolder) => Promise<readonly string[]>
  #listings = new Map<MonthFolder, Listing>()

  /** `catalogued` returns the names that the catalogue has in a folder. */
  constructor(drive: Drive, catalogued: (folder: MonthFolder) => Promise<readonly string[]>) {
    this.#drive = drive
    this.#catalogued = catalogued
  }

  /**
   * Forgets all listings; call it when the drive has come back, or when a name that was taken could not be recorded.
   */
  forget(): void {
    // What is being listed, or noted, at this moment is forgotten as well.
    this.#listings = new Map()
  }

  /**
   * The first free one of `name`, `name (2)`, `name (3)`… in `folder`. With `wholeStem`, names that differ only in
   * their extension count as taken too, so that both halves of a Live Photo will find room.
   */
  async firstFree(folder: MonthFolder, name: string, wholeStem = false): Promise<string> {
    const listing = await this.#listing(folder)
    if (wholeStem) listing.stems ??= new Set([...listing.names].flatMap(stemKeys))
    const stems = wholeStem ? listing.stems : undefined
    const key = nameKey(name)
    for (let number = stems === undefined ? (listing.nextNumber.get(key) ?? 1) : 1; ; number++) {
      const candidate = numberedName(name, number)
      const wanted = number === 1 ? key : nameKey(candidate)
      if (listing.names.has(wanted) || stems?.has(stemKey(wanted))) continue
      if (stems === undefined && number > 1) listing.nextNumber.set(key, number)
      return candidate
    }
  }

  /** Whether nothing has `name` in `folder`. */
  async isFree(folder: MonthFolder, name: string): Promise<boolean> {
    return !(await this.#listing(folder)).names.has(nameKey(name))
  }

  /**
   * What lies in `folder` without the catalogue having it, as it is spelt on the drive: one may be what is being
   * stored.
   */
  async strangers(folder: MonthFolder): Promise<readonly string[]> {
    return (await this.#listing(folder)).strangers
  }

  /** Notes that this server has just taken `name` in `folder`, so that the folder need not be listed again. */
  async noteTaken(folder: MonthFolder, name: string): Promise<void> {
    const listings = this.#listings
    const listing = listings.get(folder)
    if (listing === undefined) return
    // It counts again when it is known what the folder looks like now.
    listings.delete(folder)
    const taken = nameKey(name)
    listing.names.add(taken)
    for (const key of stemKeys(taken)) listing.stems?.add(key)
    listing.changed = await this.#changed(folder)
    listings.set(folder, listing)
  }

  /** Notes that the drive holds `name` to be taken in `folder`, whatever its listing says. */
  async noteRefused(folder: MonthFolder, name: string): Promise<void> {
    this.#listings.delete(folder)
    const { names } = await this.#listing(folder)
    names.add(nameKey(name))
  }

  async #listing(folder: MonthFolder): Promise<Listing> {
    const listings = this.#listings
    const changed = await this.#changed(folder)
    const kept = listings.get(folder)
    listings.delete(folder)
    const listing = kept !== undefined && kept.changed === changed ? kept : await this.#list(folder, changed)
    listings.set(folder, listing)
    for (const oldest of listings.keys()) {
      if (listings.size <= KEPT_LISTINGS) break
      listings.delete(oldest)
    }
    return listing
  }

  async #list(folder: MonthFolder, changed: bigint | undefined): Promise<Listing> {
    const catalogued = await this.#catalogued(folder)
    const names = new Set([SUMS_FILE, ...catalogued].map(nameKey))
    const strangers: string[] = []
    try {
      if (changed !== undefined) {
        const known = new Set(catalogued)
        for (const name of (await namesIn(this.#drive.at(folder))) ?? []) {
          names.add(nameKey(name))
          if (!known.has(name) && isOriginalName(name)) strangers.push(name)
        }
      }
    } catch (error) {
      throw driveError(error, `the folder ${folder} was being listed`)
    }
    return { changed, names, strangers, stems: undefined, nextNumber: new Map() }
  }

  /**
   * When the folder last changed; `undefined` if it does not exist. The upload at hand has just been flushed to the
   * drive.
   */
  async #changed(folder: MonthFolder): Promise<bigint | undefined> {
    try {
      return (await lookAt(this.#drive.touchedAt(folder)))?.mtimeNs
    } catch (error) {
      throw driveError(error, `the folder ${folder} was being looked at`)
    }
  }
}

/** What other files of the same base take; edits lie beside the photo whose base they have, and take none. */
function stemKeys(key: string): string[] {
  return mediaTypeByName(key) === EDITS ? [] : [stemKey(key)]
}

function stemKey(key: string): string {
  return splitName(key).stem
}
