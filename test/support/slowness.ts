import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What `work` takes on two quiet cores of a computer of 2024, in ms. */
const USUAL_MS = 170

/**
 * Returns how many times slower this machine is now than the one on which limits of time were chosen, at least 1: it
 * does a piece of all that tests do, which takes a fraction of a second there. What else runs on the machine counts, as
 * it will slow the tests, too.
 */
export function measureSlowness(): number {
  const begin = performance.now()
  work()
  return Math.max(1, (performance.now() - begin) / USUAL_MS)
}

/** Counting, starting programs, writing to the disk. */
function work(): void {
  const hash = createHash('sha256')
  const chunk = Buffer.alloc(1024 * 1024)
  for (let round = 0; round < 16; round++) hash.update(chunk)
  hash.digest()
  for (let round = 0; round < 20; round++)
    JSON.parse(JSON.stringify(Array.from({ length: 5_000 }, (_, at) => ({ at }))))
  for (let round = 0; round < 2; round++) spawnSync(process.execPath, ['-e', '0'])

  const folder = mkdtempSync(join(tmpdir(), 'iclood-slowness-'))
  try {
    for (let round = 0; round < 10; round++) {
      const file = openSync(join(folder, String(round)), 'w')
      writeSync(file, chunk, 0, 4096)
      fdatasyncSync(file)
      closeSync(file)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
