import type { Provable } from '../../catalogue/verification.ts'
import { AppError, hasErrno } from '../../errors.ts'
import type { Checksum } from '../../media/checksum.ts'
import type { DirectReader, Pause } from '../../storage/direct-read.ts'
import type { Drive } from '../../storage/drive.ts'
import { driveError, isMediumError, isSystemError } from '../../storage/drive-error.ts'
import { StrangeEntry } from '../../storage/entry.ts'
import { IDENTITY_FILE, parseLibraryPath } from '../../storage/layout.ts'
import { versionOf } from '../../storage/originals.ts'

/** What lies in the place of an original, as a reading has shown. */
export type Verdict =
  | { state: 'intact'; checksum: Checksum; size: number }
  | ({ state: 'missing' } & Seen)
  | ({ state: 'corrupt'; found: Checksum } & Seen)
  | ({ state: 'unreadable'; because: string } & Seen)

interface Seen {
  /** Whether what was seen is what lies there now; everything that acts on a verdict asks first. */
  isStillSo: () => Promise<boolean>
}

const NO_FILE = 'what lies there is not a file in a folder of the library'
/** Somebody may be writing there just now: then it is looked at again. */
const TRIES = 3

/**
 * Reads an original from the drive and compares it with its checksum; one without a checksum is intact if it can be
 * read. A single good reading is proof; anything else is looked at once more, with the drive known to be there and to
 * answer, since a drive that fails as a whole must not make every photo lost. `pause` is awaited between chunks.
 *
 * Throws `drive_missing`, and `drive_error` for what says nothing about this file alone.
 */
export async function judge(
  drive: Drive,
  reader: DirectReader,
  original: Pick<Provable, 'path' | 'checksum' | 'size'>,
  pause?: Pause,
): Promise<Verdict> {
  const first = await read(reader, original, pause)
  if (isIntact(first)) return first
  for (let tries = 0; tries < TRIES; tries++) {
    const verdict = await lookClosely(drive, reader, original, pause)
    if (verdict !== undefined) return verdict
  }
  throw new AppError('drive_error', `${original.path} changes while it is being read. Find out who writes to it.`)
}

type Intact = Extract<Verdict, { state: 'intact' }>
type Reading = Intact | { state: 'different'; checksum: Checksum } | NodeJS.ErrnoException | StrangeEntry

async function read(
  reader: DirectReader,
  { path, size, checksum }: Pick<Provable, 'path' | 'size' | 'checksum'>,
  pause?: Pause,
): Promise<Reading> {
  try {
    const found = await reader.hash(parseLibraryPath(path), size, pause)
    const isIntact = checksum === null || checksum === found.checksum
    return isIntact ? { state: 'intact', ...found } : { state: 'different', checksum: found.checksum }
  } catch (error) {
    if (isSystemError(error) || error instanceof StrangeEntry) return error
    throw error
  }
}

function isIntact(reading: Reading): reading is Intact {
  return 'state' in reading && reading.state === 'intact'
}

/** Returns `undefined` if the place was changed in the meantime. */
async function lookClosely(
  drive: Drive,
  reader: DirectReader,
  original: Pick<Provable, 'path' | 'checksum' | 'size'>,
  pause?: Pause,
): Promise<Verdict | undefined> {
  const path = parseLibraryPath(original.path)
  await drive.check()
  const before = await versionOf(drive, path)
  // Gone with the drive is not gone from it.
  await drive.check()
  const isStillSo = async () => (await versionOf(drive, path))?.version === before?.version
  if (before === undefined) return (await isStillSo()) ? { state: 'missing', isStillSo } : undefined
  if (!before.isFile) return { state: 'unreadable', because: NO_FILE, isStillSo }

  const second = await read(reader, original, pause)
  if (isIntact(second)) return second
  if (!(await isStillSo())) return undefined
  if (!(second instanceof Error)) return { state: 'corrupt', found: second.checksum, isStillSo }
  if (second instanceof StrangeEntry) return { state: 'unreadable', because: NO_FILE, isStillSo }
  if (!tellsOfFile(second)) throw driveError(second, `${path} was being read`)
  await proveThatItAnswers(drive, reader)
  return { state: 'unreadable', because: second.code ?? second.message, isStillSo }
}

/** Errors that can be this file's own; whatever else is wrong, it is wrong with the drive or with this computer. */
function tellsOfFile(error: NodeJS.ErrnoException): boolean {
  return isMediumError(error) || hasErrno(error, 'EACCES', 'EPERM', 'ELOOP', 'EISDIR', 'ENXIO', 'EREMOTEIO')
}

/** A drive whose cable has come loose may answer everything with EIO. */
async function proveThatItAnswers(drive: Drive, reader: DirectReader): Promise<void> {
  await drive.check()
  try {
    await reader.hash(IDENTITY_FILE, null)
  } catch (error) {
    throw driveError(error, 'its identity was being read')
  }
}
