import { execFile } from 'node:child_process'
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { promisify } from 'node:util'
import { hasErrno } from '../errors.ts'

export interface ServerProcess {
  readonly pid: number
  /** False for the processes that serve one connection or one task. */
  readonly isPostmaster: boolean
}

/**
 * Lists the processes of a PostgreSQL that runs on the folder `cluster`, started by us under the name `name` or by
 * anyone else. A process counts only when it calls itself postgres, and works in that very folder; where the system
 * doesn't show the folder, when it bears that name.
 */
export async function findServerProcesses(cluster: string, name: string): Promise<ServerProcess[]> {
  const lines = process.platform === 'linux' ? await listFromProc() : await listFromPs()
  const found: ServerProcess[] = []
  for (const { pid, program, command } of lines) {
    const isPart = command.startsWith('postgres: ')
    if (!isPart && basename(program) !== 'postgres') continue
    if ((await worksIn(pid, cluster)) ?? command.includes(name)) found.push({ pid, isPostmaster: !isPart })
  }
  return found
}

interface ProcessLine {
  readonly pid: number
  /** The path or name it was started by. */
  readonly program: string
  /** The same with its arguments, or what the process shows in their place. */
  readonly command: string
}

async function listFromProc(): Promise<ProcessLine[]> {
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))
  const lines = await Promise.all(
    pids.map(async (pid) => {
      try {
        const command = await readFile(`/proc/${pid}/cmdline`, 'utf8')
        const [program = ''] = command.split('\0')
        return { pid: Number(pid), program, command: command.replaceAll('\0', ' ') }
      } catch (error) {
        // It has ended since, or the system hides other people's processes, which are not ours then.
        if (hasErrno(error, 'ENOENT', 'ESRCH', 'EACCES', 'EPERM')) return undefined
        throw error
      }
    }),
  )
  return lines.filter((line) => line !== undefined)
}

async function listFromPs(): Promise<ProcessLine[]> {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-ww', '-o', 'pid=,command='], { maxBuffer: 2 ** 26 })
  return stdout.split('\n').flatMap((line) => {
    const [, pid, command] = /^ *(\d+) (.*)$/.exec(line) ?? []
    if (!pid || !command) return []
    // A path may hold spaces; a server's first argument is always -D.
    return [{ pid: Number(pid), program: command.split(' -D ')[0] ?? command, command }]
  })
}

/** Tells whether the working folder of process `pid` is `folder`; undefined where that can't be seen. */
async function worksIn(pid: number, folder: string): Promise<boolean | undefined> {
  try {
    const [theirs, ours] = await Promise.all([stat(`/proc/${pid}/cwd`), stat(folder)])
    return theirs.dev === ours.dev && theirs.ino === ours.ino
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ESRCH', 'ENOTDIR', 'EACCES', 'EPERM')) return undefined
    throw error
  }
}
