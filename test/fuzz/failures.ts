import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Saves what has failed in `folder`, with a name that says of which target it is; returns its path. */
export function save(folder: string, target: string, input: Buffer): string {
  mkdirSync(folder, { recursive: true })
  const path = join(folder, `${target}-${createHash('sha256').update(input).digest('hex').slice(0, 12)}`)
  writeFileSync(path, input)
  return path
}
