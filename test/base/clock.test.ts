import { expect, it } from 'vitest'
import { believed } from '../../src/base/clock.ts'

const now = new Date('2024-06-01T12:00:00Z')

it.each([
  ['1970-01-01T00:00:00Z', true],
  ['2024-06-01T12:00:00Z', true],
  ['2024-06-02T12:00:00Z', true],
  ['2024-06-02T12:00:00.001Z', false],
  ['2030-01-01T00:00:00Z', false],
])('at noon of the 1st of June %s is believed: %s', (time, isBelieved) => {
  expect(believed(new Date(time), now)).toEqual(isBelieved ? new Date(time) : null)
})

it('knows nothing of what is unknown', () => {
  expect(believed(null, now)).toBeNull()
})
