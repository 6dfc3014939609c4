import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A folder with which everything ends that belongs to it: processes, mounts, loop devices, files. */
export interface ReapedFolder {
  readonly path: string
  /** Ends all that and resolves when it is gone. Happens by itself when this process ends, also by kill -9. */
  reap(): Promise<void>
}

/** Makes such a folder in `place`; open to everybody, since PostgreSQL runs under another account than root. */
export function makeReapedFolder(place = tmpdir()): ReapedFolder {
  const path = mkdtempSync(join(place, 'ic-'))
  chmodSync(path, 0o755)
  const reaper = spawn('sh', [join(import.meta.dirname, 'reap.sh'), path], {
    // A Ctrl-C in the terminal is not for it.
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  // Nobody waits for it unless asked to.
  reaper.unref()
  const ended = once(reaper, 'exit')
  return {
    path,
    reap: async () => {
      reaper.ref()
      reaper.stdin.end()
      await ended
    },
  }
}
