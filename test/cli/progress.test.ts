import { expect, it } from 'vitest'
import { describeWork, ProgressLine } from '../../src/cli/progress.ts'

const MB = 1024 ** 2

it.each([
  [{ files: 0, totalFiles: 5, bytes: 0, totalBytes: 100 * MB }, 0, '0 of 5 files, 0B of 100.00MB'],
  [{ files: 1, totalFiles: 5, bytes: 20 * MB, totalBytes: 100 * MB }, 1000, '1 of 5 files, 20.00MB of 100.00MB'],
  [{ files: 1, totalFiles: 5, bytes: 20 * MB, totalBytes: 100 * MB }, 4000, /, 5\.00MB\/s, 16 s left$/],
  [{ files: 1, totalFiles: 5, bytes: 10 * MB, totalBytes: 1000 * MB }, 10_000, /, 1\.00MB\/s, 17 min left$/],
  [{ files: 1, totalFiles: 5, bytes: 10 * MB, totalBytes: 10_000 * MB }, 10_000, /, 2 h 47 min left$/],
  [{ files: 5, totalFiles: 5, bytes: 100 * MB, totalBytes: 100 * MB }, 10_000, /, 10\.00MB\/s, 0 s left$/],
  // What was read is more than was expected.
  [
    { files: 5, totalFiles: 5, bytes: 100 * MB, totalBytes: 90 * MB },
    10_000,
    /^5 of 5 files, 100\.00MB of 100\.00MB, .* 0 s left$/,
  ],
] as const)('says how far work has come, how fast it goes and what is left: %o after %i ms', (work, ms, said) => {
  expect(describeWork(work, ms)).toMatch(said)
})

/** Where lines are written, and the clock that they are written by. */
function screen(isTTY: boolean, columns = 20) {
  const clock = { now: 0 }
  const written: string[] = []
  const stream = { isTTY, columns, write: (text: string) => written.push(text) }
  return { clock, written, line: new ProgressLine(stream, () => clock.now) }
}

it('on a terminal draws one line anew, not more often than eyes can follow, and leaves nothing of it', () => {
  const { clock, written, line } = screen(true)
  for (clock.now = 0; clock.now < 1000; clock.now += 10) line.show(() => `at ${clock.now}, and more than fits`)
  expect(written).toHaveLength(10)
  expect(written[1]).toBe('\r\x1b[Kat 100, and more th')
  line.clear()
  line.clear()
  expect(written.slice(10)).toEqual(['\r\x1b[K'])
})

it('on a terminal that does not know its width shows something all the same', () => {
  const { written, line } = screen(true, 0)
  line.show(() => 'at work')
  expect(written).toEqual(['\r\x1b[Kat work'])
})

it('elsewhere writes a line every ten seconds', () => {
  const { clock, written, line } = screen(false)
  for (clock.now = 0; clock.now <= 30_000; clock.now += 100) line.show(() => `at ${clock.now}`)
  line.clear()
  expect(written).toEqual(['at 10000\n', 'at 20000\n', 'at 30000\n'])
})
