import { DAY_MS } from '../base/clock.ts'
import { type CaptureDate, type DateSource, isAtLeast, type UtcDate, type WallDate } from './capture-date.ts'

const CONTENT_ID = /^[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}$/i

/** Gathers what a file says of itself. Dates more than a day after `now` are none. */
export class Found {
  readonly #latest: number
  #captured: CaptureDate | undefined
  #contentId: string | undefined

  constructor(now: Date) {
    this.#latest = now.getTime() + DAY_MS
  }

  /** Of the dates noted so far the one that counts. */
  get captured(): CaptureDate | undefined {
    return this.#captured
  }

  /** Apple's content identifier, which both halves of a Live Photo have: a UUID in upper case. */
  get contentId(): string | undefined {
    return this.#contentId
  }

  /** Whether a date from `source` would not count, because one is known that counts more, or as much. */
  has(source: DateSource): boolean {
    return this.#captured !== undefined && isAtLeast(this.#captured.source, source)
  }

  noteDate(source: DateSource, date: WallDate | UtcDate | undefined): void {
    if (date === undefined || this.has(source)) return
    const instant = 'utc' in date ? date.utc : date.wallTime - (date.offsetMinutes ?? 0) * 60_000
    if (instant <= this.#latest) this.#captured = { source, ...date }
  }

  noteContentId(text: string): void {
    const id = parseContentId(text)
    if (id !== undefined) this.#contentId ??= id
  }
}

/** Reads Apple's content identifier, a UUID; undefined if it is none. */
export function parseContentId(text: string): string | undefined {
  const id = text.split('\0', 1)[0]?.trim() ?? ''
  return CONTENT_ID.test(id) ? id.toUpperCase() : undefined
}
