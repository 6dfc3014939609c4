/*
 * control/: What a person asks for beside the API, such as to verify everything now: done by the server that runs, or
 * by a command that has opened everything for itself.
 */

import type { Library } from '../archive/library.ts'
import type { Database } from '../catalogue/connection.ts'
import type { Config } from '../config/config.ts'
import type { AppError } from '../errors.ts'
import type { Health } from '../health/model.ts'
import type { Mirror } from '../mirror/mirror.ts'
import type { MirrorStatus } from '../mirror/status.ts'

/** Who has the library open: nobody else does. */
export interface Owner {
  readonly config: Config
  /** The catalogue, for what may take long. Throws `database_unavailable` if it is not ready yet. */
  readonly db: Database
  /**
   * The library that the catalogue belongs to, its drive there. Throws why it is not open: `rebuild_needed`,
   * `drive_missing`, `drive_error`.
   */
  library(): Promise<Library>
  /** The second copies that are there. Those that are not: `onAway` hears why (`mirror_missing`, `drive_error`). */
  mirrors(library: Library, onAway: (reason: AppError) => void): Promise<Mirror[]>
  /** How each is that is wanted. `replaced`: the folder of one whose place another has just taken. */
  mirrorStatuses(library: Library, replaced?: string): Promise<MirrorStatus[]>
  health(): Promise<Health>
  /** Whether uploads are under way, which go first. */
  readonly isBusy: () => boolean
  /** Reads the library back, unless somebody has that done already: then throws `busy`. */
  oneAtATime<Result>(pass: () => Promise<Result>): Promise<Result>
  /** Something may be a problem now, or none any more. */
  trouble(): void
  /**
   * Does what may make the catalogue another library's, and fills it: nothing else opens it meanwhile. `open` opens the
   * library `id` in `UPLOAD_FOLDER`, once the catalogue belongs to it.
   */
  readonly restoring: <Result>(work: (open: (id: string) => Promise<Library>) => Promise<Result>) => Promise<Result>
  /** That library, as it is open afterwards. */
  readonly restored: () => Promise<Library>
}

/** What a person is told while it goes on. */
export interface Told<Progress> {
  /** Called often. */
  readonly progress: (progress: Progress) => void
  /** A line beside the result. */
  readonly say: (line: string) => void
}
