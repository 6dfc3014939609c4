import { type LibraryPath, splitPath } from '../format/layout.ts'
import type { Checksum } from '../media/checksum.ts'

/**
 * Where this server has put contents that the catalogue may not know of: their uploads are on the way to be recorded,
 * or could not be, since the database or the drive went away in between. Sent again before they have been adopted,
 * they shall not be stored a second time, whatever they are called by then and whatever month they are said to be of.
 * Kept while the drive is away: what lies at a path is looked at before it is believed.
 */
export class Unrecorded {
  readonly #paths = new Map<Checksum, LibraryPath>()
  /** Those whose uploads have failed since. */
  readonly #left = new Set<Checksum>()
  #listener: (() => void) | undefined

  /** Calls `listener` whenever one could not be recorded. */
  listen(listener: () => void): void {
    this.#listener = listener
  }

  /** One could not be recorded. */
  tell(): void {
    this.#listener?.()
  }

  get isEmpty(): boolean {
    return this.#paths.size === 0
  }

  /** An upload is about to give that content the name `path`. */
  note(checksum: Checksum, path: LibraryPath): void {
    this.#paths.set(checksum, path)
    this.#left.delete(checksum)
  }

  /** Where that content may lie. */
  find(checksum: Checksum): LibraryPath | undefined {
    return this.#paths.get(checksum)
  }

  /** The names in `folder` that such contents have. */
  namesIn(folder: string): string[] {
    const places = [...this.#paths.values()].map(splitPath)
    return places.filter((place) => place.folder === folder).map(({ name }) => name)
  }

  /** The same of those whose uploads are about to record them. */
  comingTo(folder: string): string[] {
    const coming = [...this.#paths].filter(([checksum]) => !this.#left.has(checksum))
    return coming.map(([, path]) => splitPath(path)).flatMap((place) => (place.folder === folder ? place.name : []))
  }

  /** It is recorded, or does not lie there. */
  settle(checksum: Checksum): void {
    this.#paths.delete(checksum)
    this.#left.delete(checksum)
  }

  /** The upload of that content has failed. */
  leave(checksum: Checksum): void {
    if (this.#paths.has(checksum)) this.#left.add(checksum)
  }

  /** The same, unless it has been sent again meanwhile. */
  settleLeft(checksum: Checksum): void {
    if (this.#left.has(checksum)) this.settle(checksum)
  }

  /** What failed uploads have left. */
  left(): { checksum: Checksum; path: LibraryPath }[] {
    return [...this.#left].flatMap((checksum) => {
      const path = this.#paths.get(checksum)
      return path === undefined ? [] : { checksum, path }
    })
  }
}
