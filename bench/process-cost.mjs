import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))

/**
 * What the process `pid` and all its descendants have used so far, those that have ended included: CPU in seconds, and the
 * bytes that the system charges them for writing. On ext4 from Linux 6.16 on, and on XFS, a small write into a cached file
 * is charged as the large page that it lies in: PostgreSQL's log then seems to write a hundred times what reaches the drive.
 */
export function costOf(pid) {
  let ticks = 0
  let charged = 0
  for (const each of processTree(pid)) {
    const found = ifAlive(() => ({
      // utime, stime, and both of children that have ended
      times: statOf(each).slice(11, 15),
      io: /^write_bytes: (\d+)/m.exec(readFileSync(`/proc/${each}/io`, 'utf8'))?.[1],
    }))
    if (found === undefined) continue
    ticks += found.times.reduce((sum, time) => sum + Number(time), 0)
    charged += Number(found.io)
  }
  return { cpu: ticks / TICKS_PER_SECOND, charged }
}

/**
 * Bytes written so far to the drive that holds `folder`, by whomever: everything that the system still held is flushed first.
 * undefined where that can't be told, as on Btrfs, whose file systems are no single drive.
 */
export function writtenTo(folder) {
  execFileSync('sync')
  const { dev } = statSync(folder)
  // As glibc's gnu_dev_major and gnu_dev_minor take it apart.
  const major = (dev >>> 8) & 0xfff
  const minor = (dev & 0xff) | ((dev >>> 12) & 0xfff00)
  for (const line of readFileSync('/proc/diskstats', 'utf8').split('\n')) {
    const fields = line.trim().split(/ +/)
    if (Number(fields[0]) === major && Number(fields[1]) === minor) return Number(fields[9]) * 512
  }
  return undefined
}

/** The bytes that `pid` and its descendants have read and written so far, wherever these lay. */
export function bytesOf(pid) {
  const bytes = { read: 0, written: 0 }
  for (const each of processTree(pid)) {
    const io = ifAlive(() => readFileSync(`/proc/${each}/io`, 'utf8')) ?? ''
    bytes.read += Number(/^rchar: (\d+)/m.exec(io)?.[1] ?? 0)
    bytes.written += Number(/^wchar: (\d+)/m.exec(io)?.[1] ?? 0)
  }
  return bytes
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

/** Watches the memory of `pid` until `stop`; `mostSoFar` is in bytes. */
export function watchMemory(pid) {
  let most = 0
  const look = () => {
    most = Math.max(most, memoryOf(pid))
  }
  const timer = setInterval(look, 100)
  return { mostSoFar: () => most, stop: () => clearInterval(timer) }
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
