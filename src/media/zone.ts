import type { UtcDate, WallDate } from './capture-date.ts'

/**
 * When something was taken: `instant` in ms since 1970 UTC; the month (1 to 12) and year on the calendar where it was
 * taken; `offsetMinutes` of the clock there, undefined where it is only assumed from the server's zone.
 */
export interface CaptureTime {
  instant: number
  offsetMinutes: number | undefined
  year: number
  month: number
}

/**
 * Places `date` in time. `timeZone` (IANA, known to this computer) stands in for what the file does not say. A wall
 * time that the zone's clocks skipped counts from before the change; of one that they showed twice it is the first.
 */
export function resolveCaptureTime(date: WallDate | UtcDate, timeZone: string): CaptureTime {
  if ('utc' in date) {
    return { instant: date.utc, offsetMinutes: undefined, ...localMonth(date.utc, timeZone) }
  }
  const { wallTime, offsetMinutes } = date
  const instant = offsetMinutes === undefined ? instantOf(wallTime, timeZone) : wallTime - offsetMinutes * 60_000
  return { instant, offsetMinutes, ...monthOf(wallTime) }
}

/** Returns the year and month (1 to 12) that calendars in `timeZone` show at `instant` (ms since 1970 UTC). */
export function localMonth(instant: number, timeZone: string): { year: number; month: number } {
  return monthOf(instant + offsetAt(instant, timeZone))
}

const DAY = 86_400_000

function instantOf(wallTime: number, timeZone: string): number {
  // A change of the clocks nearby lies between these two.
  const before = wallTime - offsetAt(wallTime - DAY, timeZone)
  const after = wallTime - offsetAt(wallTime + DAY, timeZone)
  const shows = (instant: number) => instant + offsetAt(instant, timeZone) === wallTime
  return !shows(before) && shows(after) ? after : before
}

/** The distance of the zone's clocks from UTC at `instant`, in ms. Local mean times before zones have odd seconds. */
export function offsetAt(instant: number, timeZone: string): number {
  const fields = { year: 0, month: 0, day: 0, hour: 0, minute: 0, second: 0 }
  for (const { type, value } of formatter(timeZone).formatToParts(instant)) {
    if (type in fields) fields[type as keyof typeof fields] = Number(value)
  }
  const wallTime = Date.UTC(fields.year, fields.month - 1, fields.day, fields.hour, fields.minute, fields.second)
  return wallTime - Math.floor(instant / 1000) * 1000
}

function monthOf(wallTime: number): { year: number; month: number } {
  const calendar = new Date(wallTime)
  return { year: calendar.getUTCFullYear(), month: calendar.getUTCMonth() + 1 }
}

// Making a formatter takes a hundred times as long as using it.
const formatters = new Map<string, Intl.DateTimeFormat>()

function formatter(timeZone: string): Intl.DateTimeFormat {
  let found = formatters.get(timeZone)
  if (found === undefined) {
    const digits = 'numeric'
    found = new Intl.DateTimeFormat('en-US', {
      timeZone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: digits,
      month: digits,
      day: digits,
      hour: digits,
      minute: digits,
      second: digits,
    })
    formatters.set(timeZone, found)
  }
  return found
}
