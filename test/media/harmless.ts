import type { CaptureDate } from '../../src/media/capture-date.ts'
import { kindOf } from '../../src/media/media-type.ts'
import type { ReadAt } from '../../src/media/read.ts'
import { localMonth, resolveCaptureTime } from '../../src/media/zone.ts'
import { check } from '../fuzz/target.ts'
import { inspectBytes, inspectReading } from './inspecting.ts'

/**
 * Rejects if inspecting `file`, which claims to have `size` bytes, costs more than it may or yields what cannot be: a
 * kind of another type, an impossible date, or one that the file does not hold. `isEndless`: where the file ends it
 * begins anew.
 */
export async function checkHarmless(file: Buffer, size: number, { isEndless = false } = {}): Promise<void> {
  const inspection = isEndless ? inspectReading(repeating(file), size) : inspectBytes(file, size)
  const { mediaType, kind, captured, reads, bytes, longestRead } = await inspection
  check(reads <= 200, 'It takes too many reads', reads)
  check(bytes <= 1024 * 1024, 'It reads too much', bytes)
  check(longestRead <= 256 * 1024, 'A read is too long', longestRead)
  check(kind === kindOf(mediaType), 'Kind and type differ', [kind, mediaType])
  if (captured === undefined) return
  checkPossible(captured)
  check(
    isWrittenIn(isEndless ? Buffer.concat([file, file]) : file, captured, mediaType),
    'The date is not in the file',
    captured,
  )
}

function repeating(file: Buffer): ReadAt {
  return async (position, length) => {
    const start = position % file.length
    const enough = Buffer.alloc(start + length, file)
    return enough.subarray(start)
  }
}

function checkPossible(captured: CaptureDate): void {
  const { instant, year, month } = resolveCaptureTime(captured, 'Europe/Berlin')
  check(Number.isSafeInteger(instant), 'The instant is none', instant)
  check(year >= 1826 && year <= ('utc' in captured ? 10_000 : 9999), 'The year is impossible', year)
  check(month >= 1 && month <= 12, 'The month is impossible', month)
  check(localMonth(instant, 'UTC').year >= 1825, 'The year in UTC is impossible', instant)
  if ('wallTime' in captured && captured.offsetMinutes !== undefined) {
    check(Math.abs(captured.offsetMinutes) <= 14 * 60, 'The offset is impossible', captured.offsetMinutes)
  }
}

const SECONDS_1904_TO_1970 = 2_082_844_800

/**
 * A second reading, which knows nothing of formats: the day's digits, or the seconds of a movie's header, must stand
 * somewhere. Says yes where they may stand in pieces, compressed, or in other words: in XMP, IPTC, PNG, HEIC.
 */
function isWrittenIn(file: Buffer, captured: CaptureDate, mediaType: string | undefined): boolean {
  if ('utc' in captured) {
    if (!['mvhd', 'mdhd', 'tkhd'].includes(captured.source)) return true
    const seconds = captured.utc / 1000
    return [seconds, seconds + SECONDS_1904_TO_1970].some((number) => file.includes(bigEndian(number)))
  }
  const isPlain =
    ['quicktime', 'day', 'day-item'].includes(captured.source) ||
    (['exif', 'exif-digitized'].includes(captured.source) &&
      ['image/tiff', 'image/x-adobe-dng', 'image/webp'].includes(mediaType ?? ''))
  if (!isPlain) return true
  const day = new Date(captured.wallTime)
  const [month, date] = [day.getUTCMonth() + 1, day.getUTCDate()]
  const year = String(day.getUTCFullYear()).padStart(4, '0')
  const pattern = new RegExp(`${year}[:\\-/.]\\s?0?${month}[:\\-/.]\\s?0?${date}`)
  // Some write two bytes a letter. Digits may go on where a field has ended.
  return pattern.test(file.toString('latin1')) || pattern.test(file.toString('latin1').replaceAll('\0', ''))
}

/** As its last four bytes stand in a movie's header, in four or eight. */
function bigEndian(seconds: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(seconds % 2 ** 32)
  return bytes
}
