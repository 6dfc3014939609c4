import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { close, constants, fchown, fstat, open } from 'node:fs'
import { type FileHandle, link, lstat, mkdtemp, readdir, readlink, rename, rm, rmdir, stat } from 'node:fs/promises'
import { createConnection, createServer } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { AppError, hasErrno } from '../errors.ts'
import { giveFolder, holdFolder } from './held-folder.ts'
import { makeFolders } from './make-folders.ts'

export interface ProcessLock {
  /** Idempotent. */
  release(): Promise<void>
}

/** Of the process, as its locks are. */
let lockFolder: string | undefined

/**
 * Says where this process keeps its locks: in `dataDir`. Called once, at the process edge, before the first is wanted.
 */
export function keepLocksIn(dataDir: string): void {
  lockFolder = join(dataDir, '.locks')
}

/**
 * Takes the lock called `name` (any text, such as a folder's real path) for this process; returns undefined when a
 * living process of this machine has it, be it this one. It is a file of `DATA_DIR` that the system has locked, in a
 * folder that no other user can enter: nobody else can take it. The system gives it back when the process ends, however
 * it ends, so it is never stale, the file stays, without meaning, and no file on the drive is kept open.
 *
 * It reaches as far as `DATA_DIR`, containers that share it included, and to the processes that can be seen: of this
 * user and, for root, of root and the owner of `DATA_DIR`, which may work with another `DATA_DIR` on the same library.
 * Of two such that begin at the same instant both may be refused. Throws `internal_error` where files can't be locked.
 */
export async function acquireProcessLock(name: string): Promise<ProcessLock | undefined> {
  const id = idOf(name)
  if (process.platform === 'win32') return listenOn(`\\\\.\\pipe\\${id}`)
  for (;;) {
    const path = join(place(), id)
    const file = await preparePlace()
      .then(() => openLocked(path))
      .catch(explain)
    if (file === undefined) return undefined
    const isOurs = (await isAt(file, path)) ? !(await isHeldBeside(id, await fileStat(file))) : undefined
    if (isOurs) return { release: onlyOnce(() => closeFile(file)) }
    await closeFile(file)
    if (isOurs === false) return undefined
    // It was removed meanwhile: a lock on what nobody finds is none.
  }
}

/** Whether a living process of this machine that can be seen has that lock. Nobody is in anybody's way. */
export async function isLocked(name: string): Promise<boolean> {
  const id = idOf(name)
  if (process.platform === 'linux') return isHeldBeside(id, undefined)
  if (process.platform === 'win32') return answers(`\\\\.\\pipe\\${id}`)
  const lock = await acquireProcessLock(name)
  await lock?.release()
  return lock === undefined
}

function idOf(name: string): string {
  return `iclood-${createHash('sha256').update(name).digest('hex')}`
}

function onlyOnce(action: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined
  return () => {
    done ??= action()
    return done
  }
}

// Numbers, not handles: what is forgotten must not be closed.
const openFile = promisify(open)
const closeFile = promisify(close)
const fileStat = promisify(fstat)
const giveFile = promisify(fchown)

function place(): string {
  if (lockFolder === undefined) throw new Error('no place for locks was named')
  return lockFolder
}

/** Makes the folder for locks, the owner's of `DATA_DIR` alone, also where root makes it. */
async function preparePlace(): Promise<void> {
  const folder = place()
  const found = await lstat(folder).catch((error: unknown) => {
    if (!hasErrno(error, 'ENOENT')) throw error
  })
  if (found === undefined) {
    await makePlace(folder)
  } else if (!found.isDirectory()) {
    throw new AppError('internal_error', `${folder} is the place for locks, and is no folder. Remove it.`)
  } else if ((found.mode & 0o077) !== 0) {
    // A file system without modes says nothing, and stays as it is.
    await holdFolder(folder, (held) => held.chmod(0o700)).catch(() => {})
  }
}

function explain(error: unknown): never {
  if (error instanceof AppError || !hasErrno(error)) throw error
  throw new AppError(
    'internal_error',
    `The locks in DATA_DIR can't be had: ${error.message}. Start this as the account that DATA_DIR belongs to, or set ` +
      'DATA_DIR to a folder that this account may write to.',
    { cause: error },
  )
}

async function makePlace(folder: string): Promise<void> {
  const above = dirname(folder)
  await makeFolders(above)
  const make = async (held: FileHandle, name: string) => {
    const path = join(name, basename(folder))
    const staging = await mkdtemp(`${path}.`)
    try {
      const owner = await held.stat()
      if (process.getuid?.() === 0 && owner.uid !== 0) await giveFolder(staging, owner)
      await rename(staging, path)
    } catch (error) {
      await rmdir(staging).catch(() => {})
      // Another process was first.
      if (!hasErrno(error, 'ENOTEMPTY', 'EEXIST')) throw error
    }
  }
  await holdFolder(above, make, { mayBeLink: true })
}

/** Opens and locks that file; undefined if another process has locked it. */
async function openLocked(path: string): Promise<number | undefined> {
  if (process.platform === 'linux') {
    const file = await openOrMake(path)
    if (await lockOpenFile(file)) return file
    await closeFile(file)
    return undefined
  }
  // macOS and the BSDs lock what they open.
  const O_EXLOCK = 0x20
  try {
    return await openFile(path, constants.O_RDWR | constants.O_CREAT | constants.O_NONBLOCK | O_EXLOCK, 0o600)
  } catch (error) {
    if (hasErrno(error, 'EAGAIN', 'EWOULDBLOCK')) return undefined
    throw error
  }
}

/**
 * What root makes is the folder's owner's before it has its name: he may be the next who needs it. He can put links
 * there, too: each folder is held while something is made in it.
 */
async function openOrMake(path: string): Promise<number> {
  const flags = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK
  return holdFolder(dirname(path), async (folder, name) => {
    const { uid, gid } = await folder.stat()
    const held = join(name, basename(path))
    if (process.getuid?.() !== 0 || uid === 0) return openFile(held, flags | constants.O_CREAT, 0o600)
    try {
      return await openFile(held, flags)
    } catch (error) {
      if (!hasErrno(error, 'ENOENT')) throw error
    }
    const staging = await mkdtemp(`${held}.`)
    try {
      await holdFolder(staging, async (_, inside) => {
        const made = join(inside, basename(path))
        const file = await openFile(made, flags | constants.O_CREAT | constants.O_EXCL, 0o600)
        await giveFile(file, uid, gid).finally(() => closeFile(file))
        await link(made, held)
      })
    } catch (error) {
      // Another process was first, or the file system knows no owners.
      if (!hasErrno(error, 'EEXIST', 'EPERM', 'ENOTSUP')) throw error
    } finally {
      await rm(staging, { recursive: true, force: true })
    }
    return openFile(held, flags | constants.O_CREAT, 0o600)
  })
}

/**
 * Node can't lock files. A lock belongs to what is open, not to a process: `flock` (util-linux, BusyBox) locks what it
 * is handed, and ends; the lock stays until we, too, have closed it.
 */
async function lockOpenFile(file: number): Promise<boolean> {
  const child = spawn('flock', ['-n', '3'], { stdio: ['ignore', 'ignore', 'pipe', file] })
  let words = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    words += text
  })
  const code = await new Promise<number | string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (status, signal) => resolve(status ?? signal ?? ''))
  })
  if (code === 0) return true
  if (code === 1) return false
  throw new AppError(
    'internal_error',
    `DATA_DIR can't be locked against a second server (flock: ${words.trim() || code}). The program flock of ` +
      'util-linux or BusyBox is needed, and a DATA_DIR on a file system that can lock files.',
  )
}

interface Inode {
  readonly dev: number
  readonly ino: number
}

async function isAt(file: number, path: string): Promise<boolean> {
  const [ours, found] = await Promise.all([
    fileStat(file),
    stat(path).catch((error: unknown) => {
      if (!hasErrno(error, 'ENOENT')) throw error
    }),
  ])
  return found !== undefined && isSame(ours, found)
}

function isSame(a: Inode, b: Inode): boolean {
  return a.dev === b.dev && a.ino === b.ino
}

/**
 * Whether a process holds a lock file of that name open, other than `own`. Anybody can call a file so: believed are
 * root, we and the owner of our `DATA_DIR`, with a file of theirs that nobody else can open (a program that runs as
 * root for another user holds what that one had open).
 */
async function isHeldBeside(id: string, own: Inode | undefined): Promise<boolean> {
  if (process.platform !== 'linux') return false
  const trusted = new Set([0, process.getuid?.(), (await stat(dirname(place())).catch(() => undefined))?.uid])
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))
  for (const pid of pids) {
    // Processes end, and those of others may be closed to us.
    if (!trusted.has((await stat(`/proc/${pid}`).catch(() => undefined))?.uid ?? -1)) continue
    const folder = `/proc/${pid}/fd`
    const open = await readdir(folder).catch(() => [])
    const targets = await Promise.all(open.map((fd) => readlink(join(folder, fd)).catch(() => '')))
    for (const [index, target] of targets.entries()) {
      if (basename(target) !== id) continue
      const found = await stat(join(folder, open[index] ?? '')).catch(() => undefined)
      if (found === undefined || (own !== undefined && isSame(found, own))) continue
      if (trusted.has(found.uid) && (found.mode & 0o077) === 0 && found.nlink === 1) return true
    }
  }
  return false
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

/** Named pipes of Windows: two processes can't listen under one name. */
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
