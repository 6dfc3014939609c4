import type { Library } from '../archive/library.ts'
import { findMirrorId, rememberMirror, replaceMirror } from '../catalogue/library.ts'
import { AppError } from '../errors.ts'
import { driveError } from '../storage/drive-error.ts'
import { MIRROR_DRIVE, missingDrive, refuseUnmounted } from '../storage/drive-role.ts'
import { createIdentity, readLibraryFile, settleIdentity } from '../storage/identity.ts'
import { readMirrorNote, writeMirrorNote } from '../storage/mirror-note.ts'

/**
 * Returns the identity of the library's mirror once the folder `root` (absolute) holds it. If the library has none yet,
 * the folder becomes one: a mirror of this library that is there already is taken as it is, a folder without any
 * library is made one.
 *
 * Throws `mirror_missing` if the folder holds something else, or nothing while the mirror is known: then nothing is
 * written there. Throws `drive_missing` if that can't be told without the library's drive, which is away;
 * `drive_error`.
 */
export async function establishMirror(library: Library, root: string): Promise<string> {
  const known = await knownMirror(library)
  const found = await lookInto(library, root)
  if (known === undefined) return adopt(library, root, found ?? (await makeMirror(library, root)))
  if (found !== known) {
    if (found === undefined) throw await onMirror(missingDrive(MIRROR_DRIVE, root, known))
    throw refused(
      'The drive that is there is a second copy of this library, but not the one that is kept up to date. ' +
        'Connect that one, or run `npm run iclood -- mirror --replace` to go on with this one.',
      `The folder ${root} has the mirror ${found}, not the mirror ${known}`,
      root,
    )
  }
  return rememberMirror(library.db, known)
}

/**
 * Makes what is in the folder `root` now the library's mirror, whatever was it before: a person says so. What lies
 * there already is compared before it counts. Returns its identity. Throws `mirror_missing` if the folder holds another
 * library.
 */
export async function replaceWithMirror(library: Library, root: string): Promise<string> {
  await library.drive.check()
  const id = (await lookInto(library, root)) ?? (await makeMirror(library, root))
  await writeMirrorNote(library.drive, library.committer, id)
  if (id !== (await findMirrorId(library.db))) await replaceMirror(library.db, id)
  return id
}

/** The catalogue knows it; a catalogue that has just been rebuilt may not, then the library's drive does. */
async function knownMirror(library: Library): Promise<string | undefined> {
  const remembered = await findMirrorId(library.db)
  if (remembered !== undefined) return remembered
  await library.drive.check()
  return readMirrorNote(library.drive)
}

async function adopt(library: Library, root: string, id: string): Promise<string> {
  await onMirror(settleIdentity(root))
  await writeMirrorNote(library.drive, library.committer, id)
  return rememberMirror(library.db, id)
}

/** The identity of a mirror of this library in `root`; `undefined` if there is no library at all. */
async function lookInto(library: Library, root: string): Promise<string | undefined> {
  const found = await onMirror(readLibraryFile(root))
  if (found === undefined || found.mirrorOf === library.drive.id) return found?.id
  throw found.id === library.drive.id
    ? refused(
        'MIRROR_FOLDER leads to the library itself, or to a plain copy of it. A second copy needs a folder of ' +
          'its own; in a plain copy, move the folder .iclood away to have it taken over.',
        `The folder ${root} holds the library ${found.id} itself`,
        root,
      )
    : refused(
        'MIRROR_FOLDER holds another library, or its second copy, which is left alone. Use another folder or ' +
          'drive for the second copy; or move the folder .iclood away from it to give it up.',
        `The folder ${root} holds the library ${found.id}, which is no mirror of ${library.drive.id}`,
        root,
      )
}

async function makeMirror(library: Library, root: string): Promise<string> {
  await onMirror(refuseUnmounted(MIRROR_DRIVE, root))
  await onMirror(createIdentity(root, library.now(), library.drive.id))
  const made = await lookInto(library, root)
  if (made === undefined)
    throw refused('The drive with the second copy went away while it was being set up.', root, root)
  return made
}

function refused(message: string, cause: string, root: string): AppError {
  return new AppError('mirror_missing', message, { cause: new Error(cause), detail: `MIRROR_FOLDER is ${root}.` })
}

async function onMirror<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work
  } catch (error) {
    throw driveError(error, 'the second copy was being set up')
  }
}
