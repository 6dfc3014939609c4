import { believed } from '../base/clock.ts'
import type { Database } from '../catalogue/connection.ts'
import type { Restored } from '../catalogue/rebuild/merge.ts'
import { restoreCatalogue } from '../catalogue/rebuild/restore.ts'
import type { JournalRecord, OriginalFacts } from '../format/journal-record.ts'
import type { LibraryFile } from '../storage/identity.ts'
import { type JournalReading, JournalReplaced, openJournal } from '../storage/journal/reader.ts'

/** A running server replaces the journal's files from time to time, hardly while they are read, and never so often. */
const MAX_ATTEMPTS = 5

/** What the journal has given back. */
export interface RestoredJournal extends Restored {
  hasJournal: boolean
  /** Lines that could not be read, and lines that say what can't be. */
  damaged: number
}

interface RestoreOptions {
  report: (lines: number) => void
  signal: AbortSignal
}

/**
 * Brings back what the journal on the drive says and the catalogue does not have, and makes the catalogue that of the
 * library: all of it or nothing. What was proven is not brought back: nobody knows who has written the journal.
 * `library` is the one in the folder `root` (absolute). `report` hears how many lines have been read, from one again if
 * a snapshot replaces the journal meanwhile. Throws `drive_error`, `database_unavailable`, and the reason of `signal`.
 */
export async function restoreJournal(
  db: Database,
  root: string,
  library: LibraryFile,
  options: RestoreOptions,
): Promise<RestoredJournal> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await restore(db, root, library, options)
    } catch (error) {
      if (!(error instanceof JournalReplaced) || attempt === MAX_ATTEMPTS) throw error
    }
  }
}

async function restore(
  db: Database,
  root: string,
  library: LibraryFile,
  options: RestoreOptions,
): Promise<RestoredJournal> {
  const journal = await openJournalOf(root, library)
  const now = new Date()
  let lines = 0
  async function* records(): AsyncGenerator<JournalRecord> {
    for await (const record of journal?.records ?? []) {
      options.signal.throwIfAborted()
      options.report(++lines)
      yield withoutFuture(record, now)
    }
  }
  const restored = await restoreCatalogue(db, library.id, records())
  return { ...restored, hasJournal: journal !== undefined, damaged: journal?.damaged() ?? 0 }
}

/** The journal of the library, or of the one that it mirrors; `undefined` if there is none. */
export async function openJournalOf(root: string, { id, mirrorOf }: LibraryFile): Promise<JournalReading | undefined> {
  return openJournal(root, mirrorOf === null ? [id] : [id, mirrorOf])
}

/** Times that can't be true at `now` are none. */
function withoutFuture(record: JournalRecord, now: Date): JournalRecord {
  const past = (time: string | null) => (time === null ? null : (believed(new Date(time), now)?.toISOString() ?? null))
  const known = <Facts extends OriginalFacts>(facts: Facts): Facts => ({
    ...facts,
    captured_at: past(facts.captured_at),
    stored_at: past(facts.stored_at),
  })
  switch (record.type) {
    case 'original':
      return known(record)
    case 'backup':
      return { ...record, at: past(record.at), original: record.original === null ? null : known(record.original) }
    case 'ignored':
      return { ...record, at: past(record.at) }
    case 'removed':
      return record
  }
}
