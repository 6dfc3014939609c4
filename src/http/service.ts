import type { Library } from '../archive/library.ts'
import type { Database } from '../catalogue/connection.ts'
import type { Health } from '../health/model.ts'
import type { MediaKind } from '../media/media-type.ts'

/** What the routes work with; it may not be there yet, or not any more. */
export interface Service {
  /**
   * The catalogue. Throws `database_unavailable` until its schema is known to be up to date. For what may take long say
   * when it is of no use any more (`untilGone`): it is cancelled then, and has connections that nothing else waits for.
   */
  catalogue(gone?: AbortSignal): Database
  /**
   * Drive and catalogue. Throws `database_unavailable` or `drive_missing` with the reason until both have been there
   * once.
   */
  library(): Library
  /** Throws `data_dir_full` if the database has no room for more rows. */
  roomForRows(): Promise<void>
  /** How the household's backup is. Throws `database_unavailable`, `data_dir_full`. */
  health(): Promise<Health>
  /** Says that something may be a problem now, or none any more. */
  readonly trouble: () => void
  /** Hears of every upload that has been answered with success. */
  readonly arrived: (arrival: { deviceId: string | null; kind: MediaKind; isNew: boolean }) => void
  /** Uploads under way; background work gives way to them. */
  readonly uploads: Set<object>
  /** Whether the server is about to stop and takes no new requests. */
  readonly isStopping: boolean
}
