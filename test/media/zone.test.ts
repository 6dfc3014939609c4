import { describe, expect, it } from 'vitest'
import { localMonth, resolveCaptureTime } from '../../src/media/zone.ts'
import { fc } from '../support/property.ts'
import { rounds } from '../support/rounds.ts'

const at = (text: string) => Date.parse(`${text}Z`)
const exif = (wall: string, offsetMinutes?: number) => ({ source: 'exif', wallTime: at(wall), offsetMinutes }) as const
const instantIn = (zone: string, wall: string) =>
  new Date(resolveCaptureTime(exif(wall), zone).instant).toISOString().replace('.000', '')

describe('the time of capture', () => {
  it('takes the month from the clock where it was taken, whatever the zone of the server', () => {
    expect(resolveCaptureTime(exif('2024-02-01T00:30:00', 540), 'America/New_York')).toEqual({
      instant: at('2024-01-31T15:30:00'),
      offsetMinutes: 540,
      year: 2024,
      month: 2,
    })
  })

  it('assumes the zone of the server where the file tells none, and says so', () => {
    expect(resolveCaptureTime(exif('2024-07-31T23:59:59'), 'Europe/Berlin')).toEqual({
      instant: at('2024-07-31T21:59:59'),
      offsetMinutes: undefined,
      year: 2024,
      month: 7,
    })
  })

  it('takes the month of a movie header, which is in UTC, from the zone of the server', () => {
    const date = { source: 'mvhd', utc: at('2023-12-31T23:30:00') } as const
    const berlin = { instant: date.utc, offsetMinutes: undefined, year: 2024, month: 1 }
    expect(resolveCaptureTime(date, 'Europe/Berlin')).toEqual(berlin)
    expect(resolveCaptureTime(date, 'America/New_York')).toEqual({ ...berlin, year: 2023, month: 12 })
  })

  it.each([
    // Summer time begins at 02:00: 02:30 is never shown, and counts as half an hour after 01:59:59.
    ['Europe/Berlin', '2024-03-31T01:59:59', '2024-03-31T00:59:59Z'],
    ['Europe/Berlin', '2024-03-31T02:30:00', '2024-03-31T01:30:00Z'],
    ['Europe/Berlin', '2024-03-31T03:00:00', '2024-03-31T01:00:00Z'],
    // It ends at 03:00: 02:30 is shown twice, and the first counts.
    ['Europe/Berlin', '2024-10-27T02:30:00', '2024-10-27T00:30:00Z'],
    ['Europe/Berlin', '2024-10-27T03:00:00', '2024-10-27T02:00:00Z'],
    ['America/New_York', '2024-03-10T02:30:00', '2024-03-10T07:30:00Z'],
    ['America/New_York', '2024-11-03T01:30:00', '2024-11-03T05:30:00Z'],
    ['America/New_York', '2024-11-03T02:00:00', '2024-11-03T07:00:00Z'],
    ['Australia/Lord_Howe', '2024-04-07T01:45:00', '2024-04-06T14:45:00Z'],
    // Samoa had no 30 December 2011.
    ['Pacific/Apia', '2011-12-29T23:00:00', '2011-12-30T09:00:00Z'],
    ['Pacific/Apia', '2011-12-30T12:00:00', '2011-12-30T22:00:00Z'],
    ['Pacific/Apia', '2011-12-31T00:00:00', '2011-12-30T10:00:00Z'],
    ['Asia/Kathmandu', '2024-01-01T00:00:00', '2023-12-31T18:15:00Z'],
    // Before zones: 53 minutes and 28 seconds.
    ['Europe/Berlin', '1850-01-01T12:00:00', '1850-01-01T11:06:32Z'],
    ['UTC', '2024-06-01T12:00:00', '2024-06-01T12:00:00Z'],
  ])('in %s, %s is %s', (zone, wall, instant) => {
    expect(instantIn(zone, wall)).toBe(instant)
  })

  it('is found again from every instant that a zone shows only once', () => {
    const zones = fc.constantFrom(
      'Europe/Berlin',
      'America/St_Johns',
      'Pacific/Apia',
      'Africa/Casablanca',
      'Asia/Tehran',
    )
    const seconds = fc.integer({ min: at('1950-01-01T00:00:00') / 1000, max: at('2037-12-31T00:00:00') / 1000 })
    fc.assert(
      fc.property(zones, seconds, (zone, second) => {
        const instant = second * 1000
        const text = new Date(instant).toLocaleString('sv-SE', { timeZone: zone }).replace(' ', 'T')
        const found = resolveCaptureTime(exif(text), zone).instant
        const again = new Date(found).toLocaleString('sv-SE', { timeZone: zone }).replace(' ', 'T')
        expect(again).toBe(text)
        expect(found).toBeLessThanOrEqual(instant)
        expect(localMonth(instant, zone)).toEqual({ year: Number(text.slice(0, 4)), month: Number(text.slice(5, 7)) })
      }),
      { numRuns: rounds(300) },
    )
  })

  it('does not depend on the zone of the process', () => {
    const before = process.env['TZ']
    try {
      for (const zone of ['Asia/Tokyo', 'America/Los_Angeles']) {
        process.env['TZ'] = zone
        expect(instantIn('Europe/Berlin', '2024-07-01T12:00:00')).toBe('2024-07-01T10:00:00Z')
      }
    } finally {
      if (before === undefined) delete process.env['TZ']
      else process.env['TZ'] = before
    }
  })
})
