import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

const PRELOADED = fileURLToPath(new URL('faults.cjs', import.meta.url))

/** What happens to a server's calls of one kind. */
export interface Fault {
  /** A call of `node:fs`, or the `answer` to a request. */
  call: 'open' | 'writev' | 'fdatasync' | 'fsync' | 'mkdir' | 'link' | 'answer'
  /** What it is about: a regular expression for the absolute path, or for `201 /photos/upload`. */
  path: string
  /**
   * `halt`: the whole program stands still there for good. `lie`: a flush is said to be done, and nothing is done. An
   * answer is halted before, whatever is said.
   */
  does: 'halt before' | 'halt after' | 'lie'
}

/** Lets the calls of a server that is started with `env` go wrong, from `arm` on. */
export interface Faults {
  readonly env: Record<string, string>
  arm(...faults: readonly Fault[]): Promise<void>
  disarm(): Promise<void>
}

/** `folder` must be one that is for this server alone. */
export function makeFaults(folder: string): Faults {
  const file = join(folder, 'faults.json')
  return {
    env: { NODE_OPTIONS: `--require=${PRELOADED}`, ICLOOD_FAULTS: file },
    arm: (...faults) => writeFile(file, JSON.stringify(faults)),
    disarm: () => rm(file, { force: true }),
  }
}

/** Resolves once `server` has halted. */
export async function untilHalted(server: TestServer): Promise<void> {
  await until('the server halts', async () => server.output().includes('\nhalted at '))
}
