import { expect, it } from 'vitest'
import { noteGarbage } from '../../../src/http/limits/garbage.ts'

const CHUNK = 64 * 1024
const MB = 1024 * 1024

it('what came and was noted as garbage does not pile up to the 32 MiB that V8 waits for', () => {
  let most = 0
  const before = process.memoryUsage().arrayBuffers
  for (let received = 0; received < 200 * MB; received += CHUNK) {
    Buffer.allocUnsafeSlow(CHUNK).fill(1)
    noteGarbage(CHUNK)
    most = Math.max(most, process.memoryUsage().arrayBuffers - before)
  }
  expect(most).toBeLessThan(30 * MB)
})
