import { expect, it } from 'vitest'
import { humanSize } from '../../src/base/human-size.ts'
import { fc } from '../support/property.ts'

it.each([
  [0, '0B'],
  [1, '1.00B'],
  [1023, '1023.00B'],
  [1024, '1.00KB'],
  [800_000, '781.25KB'],
  [1024 ** 2, '1.00MB'],
  [1_500_000_000, '1.40GB'],
  [1024 ** 4, '1.00TB'],
  [3 * 1024 ** 5, '3.00PB'],
  [5000 * 1024 ** 5, '5000.00PB'],
])('%i bytes are %s', (bytes, text) => {
  expect(humanSize(bytes)).toBe(text)
})

it('a size is shown with two decimals and its unit, to a half percent', () => {
  const units = ['B', 'KB', 'MB', 'GB', 'TB', 'PB']
  fc.assert(
    fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), (bytes) => {
      const [, number = '', unit = ''] = /^(\d+\.\d\d)([A-Z]+)$/.exec(humanSize(bytes)) ?? []
      const shown = Number(number) * 1024 ** units.indexOf(unit)
      expect(Math.abs(shown - bytes) / bytes).toBeLessThan(0.005)
      expect(Number(number)).toBeGreaterThanOrEqual(1)
    }),
  )
})
