import { parseDate, type UtcDate, type WallDate } from '../../src/media/capture-date.ts'
import { inspect, type MediaFacts } from '../../src/media/inspect.ts'
import type { ReadAt } from '../../src/media/read.ts'

export interface Inspection extends MediaFacts {
  /** The capture date as text, such as `2024-07-01T19:30:05+02:00`; with `Z` if it is in UTC, wherever it was taken. */
  date: string | undefined
  reads: number
  bytes: number
  longestRead: number
}

/** When the tests take place, wherever the clock is. */
export const NOW = new Date('2026-11-27T12:00:00Z')

/** Inspects `file` and counts what it costs. `size` is what the file claims to have. */
export function inspectBytes(file: Buffer, size = file.length, now = NOW): Promise<Inspection> {
  return inspectReading(async (position, length) => file.subarray(position, position + length), size, now)
}

/** Inspects what `readAt` reads, `size` bytes, and counts what it costs. */
export async function inspectReading(readAt: ReadAt, size: number, now = NOW): Promise<Inspection> {
  let reads = 0
  let bytes = 0
  let longestRead = 0
  const facts = await inspect(
    (position, length) => {
      reads += 1
      bytes += length
      longestRead = Math.max(longestRead, length)
      return readAt(position, length)
    },
    size,
    now,
  )
  return { ...facts, date: dateText(facts.captured), reads, bytes, longestRead }
}

export function dateText(date: WallDate | UtcDate | undefined): string | undefined {
  if (date === undefined) return undefined
  if ('utc' in date) return new Date(date.utc).toISOString().replace('.000', '')
  return wallText(date)
}

/** What `parseDate` makes of `text`, as text again. */
export function parsedText(text: string): string | undefined {
  const date = parseDate(text)
  return date && wallText(date)
}

function wallText({ wallTime, offsetMinutes }: WallDate): string {
  const wall = new Date(wallTime).toISOString().replace('.000Z', '')
  if (offsetMinutes === undefined) return wall
  const minutes = Math.abs(offsetMinutes)
  const pad = (number: number) => String(number).padStart(2, '0')
  return `${wall}${offsetMinutes < 0 ? '-' : '+'}${pad(Math.floor(minutes / 60))}:${pad(minutes % 60)}`
}
