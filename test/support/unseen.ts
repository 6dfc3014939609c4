import { execFile } from 'node:child_process'
import { copyFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/**
 * Writes other bytes into a file, as many as it has, and leaves its times as they were: as rot does, or whoever does
 * not want to be seen.
 */
export async function writeUnseen(path: string, text: string): Promise<void> {
  const before = await stat(path, { bigint: true })
  const times = join(tmpdir(), `times-${before.ino}`)
  await copyFile(path, times)
  // Node's own times are not exact to the nanosecond.
  await run('touch', ['-r', path, times])
  await writeFile(path, text)
  await run('touch', ['-r', times, path])
  await rm(times)
  const after = await stat(path, { bigint: true })
  if (after.mtimeNs !== before.mtimeNs || after.size !== before.size) throw new Error(`the change of ${path} shows`)
}

/** The text of a SHA256SUMS with another first checksum. */
export function withWrongSum(sums: string): string {
  return sums.replace(/^./, (digit) => (digit === 'f' ? '0' : 'f'))
}
