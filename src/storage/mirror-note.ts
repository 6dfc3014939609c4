import { IDENTITY_BYTES } from '../base/budgets.ts'
import { hasErrno } from '../errors.ts'
import { type LibraryPath, MIRROR_NOTE } from '../format/layout.ts'
import type { Committer } from './commit.ts'
import type { Drive } from './drive.ts'
import { driveError } from './drive-error.ts'
import { parseUuid } from './identity.ts'
import { io } from './io.ts'
import { newDraft } from './staging.ts'

/**
 * Reads from the library's drive which mirrors it has, so that one which is away is not taken for a new one when the
 * catalogue was lost. Returns none if there is no note, or none that can be read.
 */
export async function readMirrorNote(drive: Drive): Promise<string[]> {
  try {
    const document: unknown = JSON.parse(await io.readText(drive.at(MIRROR_NOTE), IDENTITY_BYTES))
    if (typeof document !== 'object' || document === null || !('mirror' in document)) return []
    const all: unknown = 'mirrors' in document ? document.mirrors : [document.mirror]
    return Array.isArray(all) ? [...new Set(all.flatMap((one) => parseUuid(one) ?? []))] : []
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR') || error instanceof SyntaxError) return []
    throw driveError(error, `${MIRROR_NOTE} was being read`)
  }
}

/**
 * Notes on the library's drive that `ids` (at least one) are its mirrors; durable, and atomic. Writes nothing if it
 * says so already. A reader that knows of one mirror alone takes the first.
 */
export async function writeMirrorNote(drive: Drive, committer: Committer, ids: readonly string[]): Promise<void> {
  const sorted = ids.toSorted()
  if (JSON.stringify((await readMirrorNote(drive)).toSorted()) === JSON.stringify(sorted)) return
  await drive.check()
  try {
    const note = Buffer.from(`${JSON.stringify({ mirror: ids[0], ...(ids.length > 1 && { mirrors: ids }) })}\n`)
    await committer.write(MIRROR_NOTE as LibraryPath, newDraft('part'), note)
  } catch (error) {
    throw driveError(error, `${MIRROR_NOTE} was being written`)
  }
}
