import type { Library } from '../archive/library.ts'
import {
  findMirrorAt,
  forgetMirror,
  listMirrors,
  type MirrorPlace,
  noteMirrorFolder,
  rememberMirror,
} from '../catalogue/places.ts'
import { AppError } from '../errors.ts'
import { MIRROR_NOTE } from '../format/layout.ts'
import { driveError } from '../storage/drive-error.ts'
import { MIRROR_DRIVE, missingDrive, refuseUnmounted } from '../storage/drive-role.ts'
import { createIdentity, readLibraryFile, settleIdentity } from '../storage/identity.ts'
import { readMirrorNote, writeMirrorNote } from '../storage/mirror-note.ts'

/**
 * Returns the mirror that the folder `root` (absolute), one of the `folders` of all, is for, once it is there. A mirror
 * of this library that lies in it is taken as it is; where the library has none for this folder, a folder without any
 * library becomes one.
 *
 * Throws `mirror_missing` if the folder holds something else, or nothing while its mirror is known: then nothing is
 * written there. Throws `drive_missing` if that can't be told without the library's drive, which is away;
 * `drive_error`.
 */
export async function establishMirror(
  library: Library,
  root: string,
  folders: readonly string[] = [root],
): Promise<MirrorPlace> {
  const { db } = library
  const known = await knownMirrors(library)
  const found = await lookInto(library, root)
  const expected = await findMirrorAt(db, root, folders)
  if (found !== undefined && (expected === undefined || known.some(({ identity }) => identity === found))) {
    return adopt(library, root, found)
  }
  if (expected === undefined) return adopt(library, root, await makeMirror(library, root))
  if (found === undefined) throw await onMirror(missingDrive(MIRROR_DRIVE, root, expected.identity))
  throw refused(
    'The drive that is there is a second copy of this library, but not the one that is kept up to date. ' +
      'Connect that one, or run `npm run iclood -- mirror --replace` to go on with this one.',
    `The folder ${root} has the mirror ${found}, not the mirror ${expected.identity}`,
    root,
  )
}

/**
 * Makes what is in the folder `root` now the mirror that it is for, whatever was it before: a person says so. What lies
 * there already is compared before it counts. Throws `mirror_missing` if the folder holds another library.
 */
export async function replaceWithMirror(
  library: Library,
  root: string,
  folders: readonly string[] = [root],
): Promise<MirrorPlace> {
  await library.drive.check()
  const before = await findMirrorAt(library.db, root, folders)
  const found = (await lookInto(library, root)) ?? (await makeMirror(library, root))
  if (before !== undefined && before.identity !== found) await forgetMirror(library.db, before.id)
  return adopt(library, root, found)
}

/** The catalogue knows them; one that has just been rebuilt may not, then the library's drive does. */
async function knownMirrors(library: Library): Promise<MirrorPlace[]> {
  const remembered = await listMirrors(library.db)
  if (remembered.length > 0) return remembered
  await library.drive.check()
  for (const identity of await readMirrorNote(library.drive)) await rememberMirror(library.db, identity)
  return listMirrors(library.db)
}

async function adopt(library: Library, root: string, identity: string): Promise<MirrorPlace> {
  const { db, drive, committer } = library
  await onMirror(settleIdentity(root))
  // One mirror at a time: the note names all of them.
  return library.locks.folder.run(MIRROR_NOTE, async () => {
    const others = (await listMirrors(db)).map((mirror) => mirror.identity).filter((other) => other !== identity)
    await writeMirrorNote(drive, committer, [...others, identity])
    const mirror = await rememberMirror(db, identity)
    await noteMirrorFolder(db, mirror.id, root)
    return { ...mirror, folder: root }
  })
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
