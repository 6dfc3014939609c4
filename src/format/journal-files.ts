import { AppError } from '../errors.ts'
import { JOURNAL_FOLDER } from './layout.ts'

/** A file of the journal, as its name tells. */
export interface JournalFile {
  /** Relative to the library. */
  path: string
  name: string
  number: number
  kind: 'snapshot' | 'log'
}

const NAME = /^(\d{8})-(snapshot|log)\.jsonl$/

/**
 * No server comes to this number by itself: with a file for each start and for each 4 MB, that takes more than a
 * lifetime. From there on a run has as many numbers before it as behind it.
 */
const FAR = 50_000_000
/** Nor to this one: what was written on from a number just below `FAR` is behind it as well. */
const NEAR = FAR / 2

/** Throws `drive_error` where the numbers are at their end: what nobody finds must not be written. */
export function journalFile(number: number, kind: JournalFile['kind']): JournalFile {
  const name = `${String(number).padStart(8, '0')}-${kind}.jsonl`
  if (!NAME.test(name)) {
    throw new AppError(
      'drive_error',
      `The numbers of the files in ${JOURNAL_FOLDER} on the drive are used up. Start the server again: it begins anew with low ones.`,
    )
  }
  return { path: `${JOURNAL_FOLDER}/${name}`, name, number, kind }
}

/** Those of `names` that are files of the journal, in the order in which they are read. */
export function journalFiles(names: readonly string[]): JournalFile[] {
  return names
    .flatMap((name) => {
      const [, number, kind] = NAME.exec(name) ?? []
      return number === undefined ? [] : [journalFile(Number(number), kind as JournalFile['kind'])]
    })
    .sort((a, b) => a.number - b.number || Number(a.kind === 'log') - Number(b.kind === 'log'))
}

/**
 * Those of `files` (in order) whose numbers keep a writer from going on: none, unless somebody has put one there that
 * is `FAR` from where a writer comes; then also what may have been written after it.
 */
export function outOfReach(files: readonly JournalFile[]): JournalFile[] {
  return (files.at(-1)?.number ?? 0) < FAR ? [] : files.filter(({ number }) => number >= NEAR)
}
