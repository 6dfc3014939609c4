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
 * Reads from the library's drive which mirror it has, so that a mirror which is away is not taken for a new one when
 * the catalogue was lost. Returns `undefined` if there is no note, or none that can be read.
 */
export async function readMirrorNote(drive: Drive): Promise<string | undefined> {
  try {
    const document: unknown = JSON.parse(await io.readText(drive.at(MIRROR_NOTE), IDENTITY_BYTES))
    if (typeof document !== 'object' || document === null || !('mirror' in document)) return undefined
    return parseUuid(document.mirror)
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR') || error instanceof SyntaxError) return undefined
    throw driveError(error, `${MIRROR_NOTE} was being read`)
  }
}

/** Notes on the library's drive that `id` is its mirror; durable, and atomic. Writes nothing if it says so already. */
export async function writeMirrorNote(drive: Drive, committer: Committer, id: string): Promise<void> {
  if ((await readMirrorNote(drive)) === id) return
  await drive.check()
  try {
    const note = Buffer.from(`${JSON.stringify({ mirror: id })}\n`)
    await committer.write(MIRROR_NOTE as LibraryPath, newDraft('part'), note)
  } catch (error) {
    throw driveError(error, `${MIRROR_NOTE} was being written`)
  }
}
