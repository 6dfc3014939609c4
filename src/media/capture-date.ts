/**
 * When a photo or video was taken, as far as the file itself says.
 *
 * `wallTime` is what a clock on the wall showed where it was taken, in ms since 1970 as if that clock showed UTC;
 * `offsetMinutes` is that clock's distance from UTC (120 for +02:00), undefined if the file does not tell. A movie
 * header (`mvhd`) knows no place, only the instant `utc` in ms since 1970.
 */
export type CaptureDate =
  | { source: 'exif' | 'quicktime'; wallTime: number; offsetMinutes: number | undefined }
  | { source: 'mvhd'; utc: number }

// The first photograph that is left was taken in 1826; a year of more than four digits has no folder.
const FIRST_YEAR = 1826
const LAST_YEAR = 9999

const DATE =
  /^\s*(\d{4})[:\-/.](\s?\d{1,2})[:\-/.](\s?\d{1,2})(?:[T ](\s?\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d*)?)?\s*([-+A-Za-z]\S*)?|[\s:]*)\s*$/

/**
 * Reads a date as EXIF (`2024:07:01 19:30:05`) and QuickTime (`2024-07-01T19:30:05+0200`) write it. Seconds may be
 * missing, and so may the time (EXIF has blanks where a clock was unknown): then it is midnight. An offset that is
 * impossible is no offset. Returns undefined for what is no date: zeros, 30 February, 25 o'clock, years before
 * photography.
 */
export function parseDate(text: string): { wallTime: number; offsetMinutes: number | undefined } | undefined {
  const match = DATE.exec(untilNul(text))
  if (match === null) return undefined
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map((digits) => Number(digits ?? 0))
  if (year === undefined || month === undefined || day === undefined) return undefined
  if (hour === undefined || minute === undefined || second === undefined) return undefined
  if (year < FIRST_YEAR || hour > 23 || minute > 59 || second > 59) return undefined
  const wallTime = Date.UTC(year, month - 1, day, hour, minute, second)
  // A day that the month lacks counts on into another one, and so does a month that the year lacks.
  if (new Date(wallTime).getUTCMonth() !== month - 1) return undefined
  return { wallTime, offsetMinutes: parseOffset(match[7] ?? '') }
}

/** Reads a distance from UTC (`+02:00`, `-0330`, `+09`, `Z`) in minutes; undefined unless some place on Earth could have it. */
export function parseOffset(text: string): number | undefined {
  const offset = untilNul(text).trim()
  if (offset === 'Z') return 0
  const match = /^([+-])(\d{1,2})(?::?(\d{2}))?$/.exec(offset)
  if (match === null) return undefined
  const minute = Number(match[3] ?? 0)
  const minutes = (match[1] === '-' ? -1 : 1) * (Number(match[2]) * 60 + minute)
  return minute > 59 || minutes < -12 * 60 || minutes > 14 * 60 ? undefined : minutes + 0
}

const SECONDS_1904_TO_1970 = 2_082_844_800
const DAY = 86_400

/**
 * Reads the creation time of a movie header: seconds since 1904 in UTC. Some software counts from 1970 instead; like
 * ExifTool, what would lie before 1970 is read so. Within a day of either zero it is a clock that was never set, and
 * no date.
 */
export function movieHeaderDate(seconds: number): CaptureDate | undefined {
  const unix = seconds >= SECONDS_1904_TO_1970 ? seconds - SECONDS_1904_TO_1970 : seconds
  const utc = unix * 1000
  return unix < DAY || utc >= Date.UTC(LAST_YEAR + 1) ? undefined : { source: 'mvhd', utc }
}

// Fields of fixed size are filled up with NULs, and some software leaves rubbish behind the first.
function untilNul(text: string): string {
  const end = text.indexOf('\0')
  return end === -1 ? text : text.slice(0, end)
}
