import { readFileSync } from 'node:fs'

/**
 * When the process `pid` was started, in ticks since the start of the system; empty if there is none, or if it has
 * ended and waits for its parent to hear of it.
 */
export function startOf(pid: number): string {
  try {
    // Behind the name of the program, which may hold anything: the state is the third field, the start the twenty-second.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    return fields[0] === 'Z' ? '' : (fields[19] ?? '')
  } catch {
    return ''
  }
}
