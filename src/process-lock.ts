import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { constants, open } from 'node:fs/promises'
import { createConnection, createServer } from 'node:net'
import { hasErrno } from './errors.ts'

export interface ProcessLock {
  /** Idempotent. */
  release(): Promise<void>
}

/**
 * Takes the lock called `name` (any text, such as a folder's real path) for this process; returns undefined when a
 * living process of this machine has it, be it this one. The system gives the lock back when the process ends, however
 * it ends, so it is never stale and nothing is left to clean up, and no file on the drive is kept open. It reaches as
 * far as the network namespace: containers that share a folder but no network don't see each other's locks.
 */
export function acquireProcessLock(name: string): Promise<ProcessLock | undefined> {
  const id = idOf(name)
  if (process.platform === 'linux') return listenOn(`\0${id}`)
  if (process.platform === 'win32') return listenOn(`\\\\.\\pipe\\${id}`)
  return lockFile(`/tmp/${id}.lock`)
}

/**
 * Whether a living process of this machine has that lock. Where that can be asked without taking it, nobody is in
 * anybody's way.
 */
export async function isLocked(name: string): Promise<boolean> {
  const id = idOf(name)
  if (process.platform === 'linux') return answers(`\0${id}`)
  if (process.platform === 'win32') return answers(`\\\\.\\pipe\\${id}`)
  const lock = await acquireProcessLock(name)
  await lock?.release()
  return lock === undefined
}

function idOf(name: string): string {
  return `iclood-${createHash('sha256').update(name).digest('hex')}`
}

async function answers(path: string): Promise<boolean> {
  const socket = createConnection({ path })
  try {
    await once(socket, 'connect')
    return true
  } catch (error) {
    if (hasErrno(error, 'ECONNREFUSED', 'ENOENT')) return false
    throw error
  } finally {
    socket.destroy()
  }
}

/** Abstract Unix sockets and named pipes: two processes can't listen under one name, and no file stands for it. */
async function listenOn(path: string): Promise<ProcessLock | undefined> {
  const server = createServer((connection) => connection.destroy())
  server.listen({ path, exclusive: true })
  try {
    await once(server, 'listening')
  } catch (error) {
    if (hasErrno(error, 'EADDRINUSE')) return undefined
    throw error
  }
  server.unref()
  return {
    async release() {
      if (!server.listening) return
      server.close()
      await once(server, 'close')
    },
  }
}

/** open(2) on macOS and the BSDs can lock what it opens; an own file in /tmp stays, empty and without meaning. */
async function lockFile(path: string): Promise<ProcessLock | undefined> {
  const O_EXLOCK = 0x20
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_CREAT | constants.O_NONBLOCK | O_EXLOCK, 0o644)
    return { release: () => file.close() }
  } catch (error) {
    if (hasErrno(error, 'EAGAIN', 'EWOULDBLOCK')) return undefined
    throw error
  }
}
