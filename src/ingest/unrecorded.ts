import type { Checksum } from '../media/checksum.ts'
import type { LibraryPath } from '../storage/layout.ts'

/**
 * Originals that got their places and may have no row: the database went away in between. Sent again, they shall not be stored a
 * second time under another name, before they have been adopted.
 */
export class Unrecorded {
  readonly #paths = new Map<Checksum, LibraryPath>()
  #listener: (() => void) | undefined

  /** Calls `listener` whenever there is one more. */
  listen(listener: () => void): void {
    this.#listener = listener
  }

  note(checksum: Checksum, path: LibraryPath): void {
    this.#paths.set(checksum, path)
    this.#listener?.()
  }

  /** Where that content lies, durable. */
  find(checksum: Checksum): LibraryPath | undefined {
    return this.#paths.get(checksum)
  }

  /** It is recorded. */
  settle(checksum: Checksum): void {
    this.#paths.delete(checksum)
  }

  /** What lies on the drive is not known any more. */
  forget(): void {
    this.#paths.clear()
  }
}
