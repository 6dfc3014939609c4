/** What a clock on the wall showed where something was taken. */
export interface WallDate {
  /** ms since 1970 as if that clock showed UTC. */
  wallTime: number
  /** That clock's distance from UTC (120 for +02:00); undefined if the file does not tell. */
  offsetMinutes: number | undefined
}

/** An instant, in ms since 1970 UTC, of which the file does not say where. */
export interface UtcDate {
  utc: number
}

/**
 * Where in a file a date can stand, in the order in which it counts. Of what is the same in several places (two EXIF
 * blocks, two packets of XMP) the first good one counts.
 */
const SOURCES = [
  /** EXIF DateTimeOriginal, then CreateDate (in the standard: DateTimeDigitized). */
  'exif',
  'exif-digitized',
  /** Apple's `creationdate`, then `©day` in user data, then in a list of items. */
  'quicktime',
  'day',
  'day-item',
  /** `exif:DateTimeOriginal`, `photoshop:DateCreated`, `xmp:CreateDate`. */
  'xmp-original',
  'xmp-created',
  'xmp-digitized',
  /** IPTC's date created, then its digital creation date. */
  'iptc',
  'iptc-digitized',
  /** Text in a PNG. */
  'text',
  /** What an installed ExifTool has found. */
  'exiftool',
  /** The headers of a movie, of its media, of its tracks. */
  'mvhd',
  'mdhd',
  'tkhd',
  /** When it was last changed, by EXIF, XMP, a movie's header or a PNG. */
  'modified',
  /** When the satellites were heard that told where it was. */
  'gps',
] as const

export type DateSource = (typeof SOURCES)[number]

/** When a photo or video was taken, as far as the file itself says. */
export type CaptureDate = (WallDate | UtcDate) & { source: DateSource }

/** Whether `date` only comes near the capture: what the phone says of that counts more. */
export function isWeak(date: CaptureDate): boolean {
  return isAtLeast('modified', date.source)
}

/** Whether a date from `source` counts more than one from `other`, or as much. */
export function isAtLeast(source: DateSource, other: DateSource): boolean {
  return SOURCES.indexOf(source) <= SOURCES.indexOf(other)
}

// The first photograph that is left was taken in 1826; a year of more than four digits has no folder.
const FIRST_YEAR = 1826
const LAST_YEAR = 9999

const DATE = /^\s*(\d{4})[:\-/.](\s?\d{1,2})[:\-/.](\s?\d{1,2})(?:[T\s:](.*))?$/s
const TIME = /^\s?(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d*)?)?\s*([-+A-Za-z]\S*)?(?:\s+DST)?\s*$/

/**
 * Reads a date as EXIF (`2024:07:01 19:30:05`), QuickTime and XMP (`2024-07-01T19:30:05+0200`) write it. Seconds may be
 * missing, and so may the time (EXIF has blanks where a clock was unknown): then it is midnight. An impossible time
 * does not take the day away: hour 24 is hour 0 of the same day, anything else is midnight. An offset that is
 * impossible is no offset. Returns undefined for what is no date: zeros, 30 February, years before photography.
 */
export function parseDate(text: string): WallDate | undefined {
  const match = DATE.exec(untilNul(text))
  if (match === null) return undefined
  const [year, month, day] = match.slice(1, 4).map(Number)
  if (year === undefined || month === undefined || day === undefined || year < FIRST_YEAR) return undefined
  const midnight = Date.UTC(year, month - 1, day)
  // A day that the month lacks counts on into another one, and so does a month that the year lacks.
  if (new Date(midnight).getUTCMonth() !== month - 1) return undefined
  const time = TIME.exec(match[4] ?? '')
  return { wallTime: midnight + msOfDay(time), offsetMinutes: parseOffset(time?.[4] ?? '') }
}

function msOfDay(time: RegExpExecArray | null): number {
  const [hour = 0, minute = 0, second = 0] = (time ?? []).slice(1, 4).map((digits) => Number(digits ?? 0))
  if (hour > 24 || minute > 59 || second > 59) return 0
  return (((hour % 24) * 60 + minute) * 60 + second) * 1000
}

/**
 * Reads a distance from UTC (`+02:00`, `-0330`, `+09`, `Z`) in minutes; undefined unless some place on Earth could have
 * it.
 */
export function parseOffset(text: string): number | undefined {
  const offset = untilNul(text).trim()
  if (offset === 'Z') return 0
  const match = /^([+-])(\d{1,2})(?::?(\d{2}))?$/.exec(offset)
  if (match === null) return undefined
  const minute = Number(match[3] ?? 0)
  const minutes = (match[1] === '-' ? -1 : 1) * (Number(match[2]) * 60 + minute)
  return minute > 59 || minutes < -12 * 60 || minutes > 14 * 60 ? undefined : minutes + 0
}

/** The instant of a date that is known to be in UTC, unless it says otherwise. */
export function asUtc(date: WallDate | undefined): UtcDate | undefined {
  return date && { utc: date.wallTime - (date.offsetMinutes ?? 0) * 60_000 }
}

const SECONDS_1904_TO_1970 = 2_082_844_800
const DAY = 86_400
/** All bits of 32: software that does not know the time. */
const UNKNOWN = 0xffffffff

/**
 * Reads a time in the headers of a movie: seconds since 1904 in UTC. Some software counts from 1970 instead; like
 * ExifTool, what would lie before 1970 is read so. Within a day of either zero it is a clock that was never set, and
 * no date.
 */
export function movieHeaderDate(seconds: number): UtcDate | undefined {
  const unix = seconds >= SECONDS_1904_TO_1970 ? seconds - SECONDS_1904_TO_1970 : seconds
  const utc = unix * 1000
  return unix < DAY || seconds === UNKNOWN || utc >= Date.UTC(LAST_YEAR + 1) ? undefined : { utc }
}

// Fields of fixed size are filled up with NULs, and some software leaves rubbish behind the first.
function untilNul(text: string): string {
  const end = text.indexOf('\0')
  return end === -1 ? text : text.slice(0, end)
}
