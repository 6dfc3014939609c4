import { AppError } from '../../errors.ts'
import { JOURNAL_FOLDER } from '../layout.ts'

/** A file of the journal, as its name tells. */
export interface JournalFile {
  /** Relative to the library. */
  path: string
  name: string
  number: number
  kind: 'snapshot' | 'log'
}

// Eight digits; more only where somebody has put a file with the last number of eight there.
const NAME = /^(\d{8}|[1-9]\d{8,14})-(snapshot|log)\.jsonl$/

/** Throws `drive_error` where the numbers are at their end: what nobody finds must not be written. */
export function journalFile(number: number, kind: JournalFile['kind']): JournalFile {
  const name = `${String(number).padStart(8, '0')}-${kind}.jsonl`
  if (!NAME.test(name)) {
    throw new AppError(
      'drive_error',
      `The numbers of the journal's files on the drive are used up, since somebody has put one with a very high number there. Stop the server, move the folder ${JOURNAL_FOLDER} to another place, and start it: it writes all that it knows anew.`,
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
