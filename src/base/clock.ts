export const HOUR_MS = 60 * 60 * 1000
export const DAY_MS = 24 * HOUR_MS

/**
 * The last moment that can be believed at `now`. A computer without a clock of its own, or with a bad time server, may
 * have been years ahead: what it wrote down then as having happened is no proof, and no sign of life. So every time
 * that is kept is believed up to this moment only, in code (`believed`) and in SQL alike. It is not thrown away: it
 * may be `now` that is wrong, until the clock has been set. A clock may be wrong by its time zone, not by more: a day.
 */
export function believableUntil(now: Date): Date {
  return new Date(now.getTime() + DAY_MS)
}

/** Returns `time`; null if it is unknown, or so far ahead of `now` that it can't be true. */
export function believed(time: Date | null, now: Date): Date | null {
  return time !== null && time <= believableUntil(now) ? time : null
}
