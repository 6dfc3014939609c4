import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))

/**
 * What the process `pid` and all its descendants have used so far, those that have ended included: CPU in seconds, and bytes
 * that they wrote to a drive (or will, when the system flushes what it holds).
 */
export function costOf(pid) {
  let ticks = 0
  let written = 0
  for (const each of processTree(pid)) {
    const found = ifAlive(() => ({
      // utime, stime, and both of children that have ended
      times: statOf(each).slice(11, 15),
      io: /^write_bytes: (\d+)/m.exec(readFileSync(`/proc/${each}/io`, 'utf8'))?.[1],
    }))
    if (found === undefined) continue
    ticks += found.times.reduce((sum, time) => sum + Number(time), 0)
    written += Number(found.io)
  }
  return { cpu: ticks / TICKS_PER_SECOND, written }
}

/** The memory of `pid` and its descendants in bytes: what several processes share is counted once (PSS). */
export function memoryOf(pid) {
  let kilobytes = 0
  for (const each of processTree(pid)) {
    const rollup = ifAlive(() => readFileSync(`/proc/${each}/smaps_rollup`, 'utf8'))
    if (rollup !== undefined) kilobytes += Number(/^Pss: +(\d+) kB/m.exec(rollup)?.[1])
  }
  return kilobytes * 1024
}

/** Watches the memory of `pid`; the function it returns ends that and gives the most that was seen, in bytes. */
export function watchMemory(pid) {
  let most = 0
  const look = () => {
    most = Math.max(most, memoryOf(pid))
  }
  const timer = setInterval(look, 100)
  return () => {
    clearInterval(timer)
    look()
    return most
  }
}

/** The process `pid` and all that descend from it. */
export function processTree(pid) {
  const children = new Map()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const stat = ifAlive(() => statOf(name))
    if (stat === undefined) continue
    const parent = Number(stat[1])
    children.set(parent, [...(children.get(parent) ?? []), Number(name)])
  }
  const tree = [pid]
  for (const each of tree) tree.push(...(children.get(each) ?? []))
  return tree
}

/** The fields of /proc/<pid>/stat behind the command, which may hold spaces itself. */
function statOf(pid) {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')
}

/** undefined if the process has ended in between. */
function ifAlive(read) {
  try {
    return read()
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return undefined
    throw error
  }
}
