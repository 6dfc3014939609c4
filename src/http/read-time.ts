const EARLIEST = Date.UTC(1826, 0, 1)
const LATEST = Date.UTC(9999, 11, 31)
/** Before this, in ms, no phone took a photo that it counts in ms since 1970: it counts seconds. */
const FIRST_MS = Date.UTC(1971, 0, 1)

const NUMBER = /^\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*$/i
/** Day, perhaps time, perhaps seconds and their fraction, perhaps an offset. */
const ISO = /^\s*(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)\s*(?:(Z)|([+-]\d\d):?(\d\d)?)?)?\s*$/i
/** What a form holds where a program had nothing to put there. */
const NOTHING = new Set(['', 'undefined', 'null', 'NaN'])

/**
 * Reads a time that a client has sent, in a form or in a list: ms or seconds since 1970, as a number or a text, or ISO
 * 8601. Returns ms since 1970; null if it says nothing, or what can't be: 0 is what clocks say that were never set;
 * `undefined` if it can't be understood.
 */
export function readTime(value: unknown): number | null | undefined {
  if (value === undefined || value === null) return null
  if (typeof value === 'number') return fromNumber(value)
  if (typeof value !== 'string') return undefined
  if (NOTHING.has(value.trim())) return null
  if (NUMBER.test(value)) return fromNumber(Number(value))
  const [, day, time, utc, hours, minutes] = ISO.exec(value) ?? []
  if (day === undefined) return undefined
  const offset = utc ?? (hours === undefined ? '' : `${hours}:${minutes ?? '00'}`)
  const at = Date.parse(time === undefined ? day : `${day}T${time.replace(',', '.')}${offset.toUpperCase()}`)
  return Number.isNaN(at) ? undefined : plausible(at)
}

function fromNumber(value: number): number | null {
  const inSeconds = value < FIRST_MS ? plausible(value * 1000) : null
  return inSeconds ?? plausible(value)
}

function plausible(ms: number): number | null {
  return ms !== 0 && ms >= EARLIEST && ms <= LATEST ? ms : null
}
