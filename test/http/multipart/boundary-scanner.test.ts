import { describe, expect, test } from 'vitest'
import { BoundaryScanner } from '../../../src/http/multipart/boundary-scanner.ts'

/** What the old server took a second for 0.6 MB of: lines that are boundaries up to their last byte. */
function almostBoundaries(padding: number, end: string): Buffer {
  const line = Buffer.from(`\r\n--b${' '.repeat(padding)}${end}`)
  return Buffer.concat(Array.from({ length: Math.floor(65_536 / line.length) }, () => line))
}

describe('lines that look like boundaries to their last byte', () => {
  test.each([
    ['long white space', almostBoundaries(255, 'x')],
    ['white space beyond what a boundary may have', almostBoundaries(1000, 'x')],
    ['a closing boundary with white space', almostBoundaries(0, `--${' '.repeat(250)}x`)],
    ['no white space', almostBoundaries(0, 'x')],
    ['a CR at the end', almostBoundaries(254, '\r')],
  ])('cost no more than the fastest disk takes: %s', (_, chunk) => {
    let bytes = 0
    let slices = 0
    const scanner = new BoundaryScanner('b', (slice) => {
      bytes += slice.length
      slices++
    })
    scanner.scan(Buffer.from('x'), 0)
    const rounds = 512
    const before = process.cpuUsage()
    for (let round = 0; round < rounds; round++) scanner.scan(chunk, 0)
    const { user, system } = process.cpuUsage(before)
    scanner.scan(Buffer.from('x'), 0)

    expect(bytes).toBe(2 + rounds * chunk.length)
    expect(slices).toBeLessThan(6 * rounds)
    // 32 MB in 0.03 to 0.4 s of the processor's; what grows with the square of a line's length takes 50 s.
    expect((user + system) / 1e6).toBeLessThan(8)
  })
})
