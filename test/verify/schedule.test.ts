import { describe, expect, it } from 'vitest'
import { dueAt, dueBefore, horizon, isNight, nextNight, walkDueAt } from '../../src/verify/schedule.ts'

const HOUR = 60 * 60 * 1000
const DAY = 24 * HOUR
const BERLIN = 'Europe/Berlin'
const at = (text: string) => Date.parse(text)
const iso = (time: number) => new Date(time).toISOString()

describe('the night', () => {
  it.each([
    ['2024-07-01T00:59:59+02:00', false],
    ['2024-07-01T01:00:00+02:00', true],
    ['2024-07-01T04:59:59+02:00', true],
    ['2024-07-01T05:00:00+02:00', false],
    ['2024-01-01T00:30:00Z', true],
    ['2024-01-01T12:00:00Z', false],
  ])('in Berlin, %s: %s', (time, night) => {
    expect(isNight(at(time), BERLIN)).toBe(night)
  })

  it.each([
    ['2024-07-01T12:00:00+02:00', '2024-07-01T23:00:00.000Z'],
    ['2024-07-01T02:34:56.789+02:00', '2024-07-01T00:34:56.789Z'],
    // Clocks go forward from two to three, and back from three to two.
    ['2024-03-30T12:00:00+01:00', '2024-03-31T00:00:00.000Z'],
    ['2024-03-31T05:30:00+02:00', '2024-03-31T23:00:00.000Z'],
    ['2024-10-27T00:30:00+02:00', '2024-10-26T23:00:00.000Z'],
  ])('after %s begins at %s', (time, next) => {
    expect(iso(nextNight(at(time), BERLIN))).toBe(next)
  })

  it('is found where the clocks are set to quarters of an hour', () => {
    expect(iso(nextNight(at('2024-07-01T12:00:00Z'), 'Asia/Kathmandu'))).toBe('2024-07-01T19:15:00.000Z')
  })
})

describe('with everything to be read within 30 days', () => {
  const rules = { every: 30 * DAY, timeZone: 'UTC' }

  it('a photo is read at night from 15 days on, and at any time from 27 days on', () => {
    const noon = at('2024-07-31T12:00:00Z')
    const night = at('2024-07-31T02:00:00Z')
    expect(dueBefore(noon, rules)).toBe(noon - 27 * DAY)
    expect(dueBefore(night, rules)).toBe(night - 15 * DAY)
  })

  it('the next reading is in the first night after 15 days', () => {
    expect(iso(dueAt(at('2024-07-01T12:00:00Z'), rules))).toBe('2024-07-17T01:00:00.000Z')
    expect(iso(dueAt(at('2024-07-01T02:00:00Z'), rules))).toBe('2024-07-16T02:00:00.000Z')
    expect(dueAt(Number.NEGATIVE_INFINITY, rules)).toBe(Number.NEGATIVE_INFINITY)
  })

  it('nothing that comes now is due before 15 days', () => {
    const now = at('2024-07-01T02:00:00Z')
    expect(horizon(now, rules)).toBe(now + 15 * DAY)
    expect(dueAt(now, rules)).toBeGreaterThanOrEqual(horizon(now, rules))
  })

  it('the folders are compared as often, and every night while something is wrong', () => {
    const walked = at('2024-07-01T03:00:00Z')
    expect(iso(walkDueAt(walked, false, rules))).toBe('2024-07-16T03:00:00.000Z')
    expect(iso(walkDueAt(walked, true, rules))).toBe('2024-07-02T01:00:00.000Z')
  })
})

it('with little time between two readings it is not waited for the night', () => {
  const rules = { every: 10_000, timeZone: 'UTC' }
  const noon = at('2024-07-31T12:00:00Z')
  expect(dueAt(noon, rules)).toBe(noon + 9_000)
  expect(dueBefore(noon, rules)).toBe(noon - 9_000)
})

it('what is due at a time is what was proven before the time that counts then', () => {
  const rules = { every: 30 * DAY, timeZone: BERLIN }
  for (let hours = 0; hours < 24 * 40; hours += 7) {
    const proven = at('2024-03-01T00:00:00Z') + hours * HOUR
    const due = dueAt(proven, rules)
    expect(proven).toBeLessThanOrEqual(dueBefore(due, rules))
    expect(proven).toBeGreaterThan(dueBefore(due - 60_000, rules))
  }
})
