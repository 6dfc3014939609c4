import { BEYOND_ORIGINAL, IDENTITY_BYTES, LARGEST_ORIGINAL } from '../base/budgets.ts'
import type { Provable } from '../catalogue/verification.ts'
import { AppError, hasErrno } from '../errors.ts'
import { IDENTITY_FILE, parseLibraryPath } from '../format/layout.ts'
import type { Checksum } from '../media/checksum.ts'
import { type DirectReader, LongerFile, type Pause } from '../storage/direct-read.ts'
import type { Drive } from '../storage/drive.ts'
import { driveError, isMediumError, isSystemError } from '../storage/drive-error.ts'
import { StrangeEntry } from '../storage/entry.ts'
import { strangeness, versionOf } from '../storage/originals.ts'

/** What lies in the place of an original, as a reading has shown. */
export type Verdict =
  | { state: 'intact'; checksum: Checksum; size: number }
  | ({ state: 'missing' } & Seen)
  /** Of what is too long to be read, `found` is null; `size` is how long it is, in bytes. */
  | ({ state: 'corrupt'; found: Checksum | null; size: number } & Seen)
  /** `strange` says what lies in its way, if it is no file in a folder of the library: "2024/07/IMG.JPG is a pipe". */
  | ({ state: 'unreadable'; because: string; strange: string | null } & Seen)

interface Seen {
  /** Whether what was seen is what lies there now; everything that acts on a verdict asks first. */
  isStillSo: () => Promise<boolean>
}

/** How an original is read. */
export interface Care {
  /** Awaited between chunks. */
  pause?: Pause | undefined
  /** Whether its size is what was stored, and not only what was found: then what is much longer is not it. */
  isSizeKnown: boolean
  /** Whether something of that size, longer than this original, is worth reading to know what it is. */
  isWorthReading?: (size: number) => Promise<boolean>
}

/** Somebody may be writing there just now: then it is looked at again. */
const TRIES = 3

/**
 * Reads an original from the drive and compares it with its checksum; one without a checksum is intact if it can be
 * read. A single good reading is proof; anything else is looked at once more, with the drive known to be there and to
 * answer, since a drive that fails as a whole must not make every photo lost. What is much longer than it should be is
 * corrupt, and is not read to its end.
 *
 * Throws `drive_missing`, and `drive_error` for what says nothing about this file alone.
 */
export async function judge(drive: Drive, reader: DirectReader, original: Sought, care: Care): Promise<Verdict> {
  const known = care.isSizeKnown ? original.size : null
  const limit = known === null ? LARGEST_ORIGINAL : known + BEYOND_ORIGINAL
  const first = await read(reader, original, limit, care)
  if (isIntact(first)) return first
  for (let tries = 0; tries < TRIES; tries++) {
    const verdict = await lookClosely(drive, reader, original, limit, care)
    if (verdict !== undefined) return verdict
  }
  throw new AppError('drive_error', `${original.path} changes while it is being read. Find out who writes to it.`)
}

type Sought = Pick<Provable, 'path' | 'checksum' | 'size'>
type Intact = Extract<Verdict, { state: 'intact' }>
/** A `checksum` that is null is that of a file which was too long. */
type Reading = Intact | { state: 'different'; checksum: Checksum | null } | NodeJS.ErrnoException | StrangeEntry

async function read(
  reader: DirectReader,
  { path, size, checksum }: Sought,
  limit: number,
  { pause }: Care,
): Promise<Reading> {
  try {
    const found = await reader.hash(parseLibraryPath(path), size, { pause, limit })
    const isIntact = checksum === null || checksum === found.checksum
    return isIntact ? { state: 'intact', ...found } : { state: 'different', checksum: found.checksum }
  } catch (error) {
    if (error instanceof LongerFile) return { state: 'different', checksum: null }
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
  original: Sought,
  limit: number,
  care: Care,
): Promise<Verdict | undefined> {
  const path = parseLibraryPath(original.path)
  await drive.check()
  const before = await versionOf(drive, path)
  // Gone with the drive is not gone from it.
  await drive.check()
  const isStillSo = async () => (await versionOf(drive, path))?.version === before?.version
  if (before === undefined) return (await isStillSo()) ? { state: 'missing', isStillSo } : undefined
  if (before.strange !== null) return inTheWay(before.strange, isStillSo)

  const { size } = before
  if (size > limit && !(await care.isWorthReading?.(size))) return { state: 'corrupt', found: null, size, isStillSo }
  const second = await read(reader, original, Math.max(limit, size), care)
  if (isIntact(second)) return second
  if (!(await isStillSo())) return undefined
  if (!(second instanceof Error)) return { state: 'corrupt', found: second.checksum, size, isStillSo }
  if (second instanceof StrangeEntry) return inTheWay(strangeness(second), isStillSo)
  if (!tellsOfFile(second)) throw driveError(second, `${path} was being read`)
  await proveThatItAnswers(drive, reader)
  return { state: 'unreadable', because: second.code ?? second.message, strange: null, isStillSo }
}

function inTheWay(strange: string, isStillSo: Seen['isStillSo']): Verdict {
  return { state: 'unreadable', because: strange, strange, isStillSo }
}

/** Errors that can be this file's own; whatever else is wrong, it is wrong with the drive or with this computer. */
function tellsOfFile(error: NodeJS.ErrnoException): boolean {
  return isMediumError(error) || hasErrno(error, 'EACCES', 'EPERM', 'ELOOP', 'EISDIR', 'ENXIO', 'EREMOTEIO')
}

/** A drive whose cable has come loose may answer everything with EIO. */
async function proveThatItAnswers(drive: Drive, reader: DirectReader): Promise<void> {
  await drive.check()
  try {
    await reader.hash(IDENTITY_FILE, null, { limit: IDENTITY_BYTES })
  } catch (error) {
    throw driveError(error, 'its identity was being read')
  }
}
