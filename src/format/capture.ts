import { type CaptureDate, isWeak } from '../media/capture-date.ts'
import { localMonth, resolveCaptureTime } from '../media/zone.ts'
import { type MonthFolder, monthFolder } from './layout.ts'

/** When an original was taken and the folder that follows from it. */
export interface Capture {
  folder: MonthFolder
  /** Null if nobody says, and the folder is that of its arrival; or if it is after the year 9999 by UTC. */
  at: Date | null
  /** Minutes east of UTC where it was taken; null if the original does not say. */
  offset: number | null
}

/** Neither PostgreSQL nor clients read a year of five digits as `toISOString` writes it. */
const LAST_INSTANT = Date.UTC(9999, 11, 31, 23, 59, 59, 999)

/**
 * Takes the first of: what the bytes say (`captured`), what the phone says (`created`, ms since 1970), when it arrived.
 * What the bytes say of anything but the capture itself, such as of the last change, counts after what the phone says.
 */
export function captureOf(
  captured: CaptureDate | undefined,
  created: number | null,
  arrived: Date,
  timeZone: string,
): Capture {
  if (captured !== undefined && !(created !== null && isWeak(captured))) {
    const { instant, offsetMinutes, year, month } = resolveCaptureTime(captured, timeZone)
    const at = instant <= LAST_INSTANT ? new Date(instant) : null
    return { folder: monthFolder(year, month), at, offset: offsetMinutes ?? null }
  }
  const at = created === null ? null : new Date(created)
  return { folder: folderAt(at ?? arrived, null, timeZone), at, offset: null }
}

/** The capture date that the bytes themselves tell, and not only come near to; null if they tell none. */
export function ownDateOf(captured: CaptureDate | undefined, arrived: Date, timeZone: string): Date | null {
  return captured === undefined || isWeak(captured) ? null : captureOf(captured, null, arrived, timeZone).at
}

/**
 * The month folder of an instant, by the clock `offset` minutes east of UTC if that is known, else by that of
 * `timeZone`.
 */
export function folderAt(at: Date, offset: number | null, timeZone: string): MonthFolder {
  const { year, month } =
    offset === null ? localMonth(at.getTime(), timeZone) : localMonth(at.getTime() + offset * 60_000, 'UTC')
  return monthFolder(year, month)
}
