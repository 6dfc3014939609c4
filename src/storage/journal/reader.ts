import { JOURNAL_LINE_BYTES } from '../../base/budgets.ts'
import { AppError, hasErrno } from '../../errors.ts'
import { type JournalFile, journalFiles } from '../../format/journal-files.ts'
import { parseLine } from '../../format/journal-line.ts'
import type { HeaderLine, JournalLine, JournalRecord } from '../../format/journal-record.ts'
import { JOURNAL_FOLDER } from '../../format/layout.ts'
import { driveError, isMediumError } from '../drive-error.ts'
import { type Entry, Root, StrangeEntry } from '../entry.ts'
import { namesIn } from '../look-at.ts'
import { readLines, readTail } from './lines.ts'

/** The only format there is. */
const FORMAT = 1
/** An `end` line has some fifty bytes. */
const TAIL_BYTES = 1024

/** A snapshot has replaced files of the journal while they were read: it has to be read anew, from the beginning. */
export class JournalReplaced extends AppError {
  constructor(cause: Error) {
    super('drive_error', 'The journal was replaced while it was being read. Try again.', { cause })
  }
}

/** A journal that is there. */
export interface JournalReading {
  /**
   * What the journal says, in order: later records replace earlier ones about the same thing. Can be iterated once,
   * reading file after file with bounded memory. What can't be read is left out and counted; throws `drive_error` if a
   * file has gone since, `JournalReplaced` if a snapshot has taken its place.
   */
  readonly records: AsyncIterable<JournalRecord>
  /** How many lines were left out so far as damaged, and files as unreadable. A log's torn last line is no damage. */
  damaged(): number
}

/**
 * Finds the journal of one of the libraries `libraryIds` (a library's own id, and for a mirror the one it is a mirror
 * of) in the library at `root` (absolute), following "To read it" in docs/drive-format.md. Returns `undefined` if there
 * is none. Throws `drive_error` if the drive can't be read, or if a later iClood has written the journal, and
 * `JournalReplaced`.
 */
export async function openJournal(root: string, libraryIds: readonly string[]): Promise<JournalReading | undefined> {
  const files = new Root(root)
  const damage = new Damage()
  const found = await filesOf(files, journalFiles(await listNames(files)), libraryIds, damage)
  if (found.length === 0) return undefined
  const start = await findSnapshot(files, found, damage)
  const wanted = start === undefined ? found : found.filter((file) => file === start || isLogFrom(start, file))
  return { records: readFiles(files, wanted, damage), damaged: () => damage.total }
}

/** The names in the journal's folder; none where there is no folder. Throws `drive_error`. */
export async function listNames(root: Root): Promise<string[]> {
  try {
    return (await namesIn(root.at(JOURNAL_FOLDER))) ?? []
  } catch (error) {
    throw driveError(error, 'its journal was being looked for')
  }
}

function isLogFrom(start: JournalFile, file: JournalFile): boolean {
  return file.kind === 'log' && file.number >= start.number
}

/** What could not be read: lines, and the files that failed, each of them once. */
class Damage {
  lines = 0
  readonly files = new Set<string>()

  get total(): number {
    return this.lines + this.files.size
  }
}

/**
 * Those of `files` that belong to one of the libraries; one whose header is damaged is taken to. Throws `drive_error`
 * if a later iClood has written one of them, or if the drive can't be read.
 */
export async function filesOf(
  root: Root,
  files: readonly JournalFile[],
  libraryIds: readonly string[],
  damage = new Damage(),
): Promise<JournalFile[]> {
  const ours: JournalFile[] = []
  for (const file of files) {
    const header = await unlessDamaged(root, file, damage, () => readHeader(root.at(file.path)))
    if (header !== undefined && !libraryIds.includes(header.library.toLowerCase())) continue
    if (header !== undefined && header.format !== FORMAT) {
      throw new AppError(
        'drive_error',
        `The journal on the drive is of format ${header.format}, and this iClood knows only ${FORMAT}. Use the version that wrote it, or a newer one.`,
      )
    }
    ours.push(file)
  }
  return ours
}

async function readHeader(entry: Entry): Promise<HeaderLine | undefined> {
  for await (const { bytes } of readLines(entry, JOURNAL_LINE_BYTES)) {
    const line = bytes === undefined ? undefined : parseLine(bytes)
    return isLine(line) && line.type === 'header' ? line : undefined
  }
  return undefined
}

/** The complete snapshot with the highest number. */
async function findSnapshot(
  root: Root,
  files: readonly JournalFile[],
  damage: Damage,
): Promise<JournalFile | undefined> {
  for (const file of files.toReversed()) {
    if (file.kind !== 'snapshot') continue
    const tail = await unlessDamaged(root, file, damage, () => readTail(root.at(file.path), TAIL_BYTES))
    const [last, ended] = tail?.toString('latin1').split('\n').slice(-2) ?? []
    const line = last === undefined || ended !== '' ? undefined : parseLine(Buffer.from(last, 'latin1'))
    if (isLine(line) && line.type === 'end') return file
  }
  return undefined
}

async function* readFiles(root: Root, files: readonly JournalFile[], damage: Damage): AsyncGenerator<JournalRecord> {
  for (const file of files) {
    const lines = readLines(root.at(file.path))
    let between = -1
    try {
      for (;;) {
        const next = await unlessDamaged(root, file, damage, () => lines.next())
        if (next === undefined || next.done) break
        const { bytes, isEnded } = next.value
        const line = bytes === undefined ? undefined : parseLine(bytes)
        if (line === undefined && (isEnded || file.kind === 'snapshot')) damage.lines++
        // Lines that have run together count once, and are missing here.
        if (isLine(line) && line.type === 'end') damage.lines += Math.max(0, line.lines - between)
        else if (isLine(line) && line.type !== 'header') yield line
        between++
      }
    } finally {
      await lines.return(undefined)
    }
  }
}

function isLine(line: JournalLine | 'unknown' | undefined): line is JournalLine {
  return line !== undefined && line !== 'unknown'
}

/**
 * What `work` returns; `undefined`, with the file counted, if the drive can't read it: it may well read the next one.
 */
async function unlessDamaged<Result>(
  root: Root,
  file: JournalFile,
  damage: Damage,
  work: () => Promise<Result>,
): Promise<Result | undefined> {
  try {
    return await work()
  } catch (error) {
    if (hasErrno(error, 'ENOENT') && (await isReplaced(root, file))) throw new JournalReplaced(error)
    // Nobody but the server puts anything there; what somebody did is left out, and told.
    if (!isMediumError(error) && !(error instanceof StrangeEntry))
      throw driveError(error, `its journal (${file.name}) was being read`)
    damage.files.add(file.name)
    return undefined
  }
}

/** Whether there is a snapshot that holds what `file` held: without one, it is the drive that has gone. */
async function isReplaced(root: Root, { number }: JournalFile): Promise<boolean> {
  return journalFiles(await listNames(root)).some((other) => other.kind === 'snapshot' && other.number > number)
}
