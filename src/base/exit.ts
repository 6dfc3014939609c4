import { setTimeout } from 'node:timers/promises'

/** Calls on files that are still under way when all else has ended are waited for so long. */
const CALLS_MS = 2_000

/**
 * Ends the process. Node's own exit waits for calls on files that are under way, and one on a drive that does not
 * answer never ends: nothing is left to be done then, and the process kills itself.
 */
export async function exit(code: number): Promise<void> {
  const end = performance.now() + CALLS_MS
  while (isCalling() && performance.now() < end) await setTimeout(20)
  exitNow(code)
}

/** The same, without any wait. */
export function exitNow(code: number): void {
  if (isCalling()) process.kill(process.pid, 'SIGKILL')
  process.exit(code)
}

function isCalling(): boolean {
  return process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq'))
}
