import { offsetAt } from '../media/zone.ts'

/** What may be read back at a time: in its own good time at night, and at any time when it is getting late. */

/** The share of the time between two readings after which it is done at night, or whenever nobody uploads. */
const AT_NIGHT = 0.5
const AT_ANY_TIME = 0.9
/** With something wrong on the drive the folders are looked at every night. */
const WITH_FINDINGS_MS = 12 * 60 * 60 * 1000

const NIGHT_BEGINS = 1
const NIGHT_ENDS = 5
const STEP_MS = 15 * 60 * 1000
const STEPS_OF_TWO_DAYS = 192

/** Whether it is between one and five o'clock in the night, by the clock of `timeZone`. `at` is ms since 1970. */
export function isNight(at: number, timeZone: string): boolean {
  const hour = new Date(at + offsetAt(at, timeZone)).getUTCHours()
  return hour >= NIGHT_BEGINS && hour < NIGHT_ENDS
}

/** The first moment from `at` on that is in a night, to the quarter of an hour; `at` itself if it is. */
export function nextNight(at: number, timeZone: string): number {
  if (isNight(at, timeZone)) return at
  // Quarters of an hour, which every time zone's hours begin with: no clock change upsets it.
  const first = Math.ceil(at / STEP_MS) * STEP_MS
  for (let step = 0; step < STEPS_OF_TWO_DAYS; step++) {
    if (isNight(first + step * STEP_MS, timeZone)) return first + step * STEP_MS
  }
  return first
}

export interface Rules {
  /** Milliseconds between two readings of a file. */
  every: number
  timeZone: string
}

/** What was last proven before this moment (ms since 1970) may be read again at `now`. */
export function dueBefore(now: number, { every, timeZone }: Rules): number {
  return now - every * (isNight(now, timeZone) ? AT_NIGHT : AT_ANY_TIME)
}

/** When something that was last proven at `proven` may be read again; in the past if it may already. */
export function dueAt(proven: number, { every, timeZone }: Rules): number {
  if (proven === Number.NEGATIVE_INFINITY) return proven
  return Math.min(nextNight(proven + every * AT_NIGHT, timeZone), proven + every * AT_ANY_TIME)
}

/** When the folders, last compared at `walked`, may be compared again. */
export function walkDueAt(walked: number, hasFindings: boolean, rules: Rules): number {
  if (!hasFindings) return dueAt(walked, rules)
  return Math.min(dueAt(walked, rules), nextNight(walked + WITH_FINDINGS_MS, rules.timeZone))
}

/** Nothing that comes from `now` on may be read again before this moment. */
export function horizon(now: number, { every }: Rules): number {
  return now + every * AT_NIGHT
}
