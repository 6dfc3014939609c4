import { constants } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { hasErrno } from '../errors.ts'

/** Who works with DATA_DIR: whoever holds its lock leaves this word for others. Without that lock it is stale. */
export interface OwnerNote {
  /** `serve`, or what another command is called. */
  readonly command: string
  /** Where a server that takes requests can be asked, such as `http://127.0.0.1:5000`, and what it lets in. */
  readonly door?: { readonly address: string; readonly secret: string } | undefined
}

const MAX_BYTES = 4096

/** Readable by this account (and root) alone; replaced as a whole. System errors pass, and no note is left then. */
export async function leaveNote(dataDir: string, { command, door }: OwnerNote): Promise<void> {
  const path = pathIn(dataDir)
  const staged = `${path}.new`
  try {
    await rm(staged, { force: true })
    const file = await open(staged, 'wx', 0o600)
    try {
      await file.writeFile(`${JSON.stringify({ command, ...door })}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(staged, path)
  } catch (error) {
    await rm(path, { force: true })
    throw error
  }
}

/** Undefined if there is none, or none that can be understood. Throws `EACCES` to whom it is not meant for. */
export async function readNote(dataDir: string): Promise<OwnerNote | undefined> {
  try {
    // Whoever may write to DATA_DIR may put anything there.
    const flags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0)
    const file = await open(pathIn(dataDir), flags)
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_BYTES), 0, MAX_BYTES, 0)
      return parse(buffer.toString('utf8', 0, bytesRead))
    } finally {
      await file.close()
    }
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ELOOP', 'EISDIR', 'ENXIO', 'EAGAIN')) return undefined
    throw error
  }
}

export async function removeNote(dataDir: string): Promise<void> {
  await rm(pathIn(dataDir), { force: true })
}

function pathIn(dataDir: string): string {
  return join(dataDir, 'control.json')
}

function parse(text: string): OwnerNote | undefined {
  let found: unknown
  try {
    found = JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
  if (typeof found !== 'object' || found === null) return undefined
  const { command, address, secret } = found as Record<string, unknown>
  if (typeof command !== 'string') return undefined
  const hasDoor = typeof address === 'string' && URL.canParse(address) && typeof secret === 'string'
  return { command, door: hasDoor ? { address, secret } : undefined }
}
