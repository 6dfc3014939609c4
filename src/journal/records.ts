import type { Database } from '../catalogue/connection.ts'
import { backupRecords, ignoredRecords, originalRecords } from '../catalogue/journal-rows.ts'
import type { News } from '../catalogue/outbox.ts'
import type { JournalRecord, OriginalFacts } from '../format/journal-record.ts'
import type { LibraryPath } from '../format/layout.ts'

/** What the journal and the SHA256SUMS have to say of changed rows, as these are now. */
export interface Changed {
  records: JournalRecord[]
  /** Those of the records that are about originals, or hold one. */
  originals: OriginalFacts[]
  /** Originals that the catalogue does not have any more. */
  gone: LibraryPath[]
}

/** Reads changed rows from the catalogue. */
export async function readChanged(db: Database, news: News): Promise<Changed> {
  const backups = await ifAny(news.backups, (ids) => backupRecords(db, ids))
  const ignored = await ifAny(news.ignored, (ids) => ignoredRecords(db, ids))
  const held = new Map(backups.flatMap(({ original }) => (original === null ? [] : [[original.path, original]])))
  // Most new originals have come with their rows.
  const others = await ifAny(
    news.originals.filter((path) => !held.has(path)),
    (paths) => originalRecords(db, paths),
  )
  const gone = without(news.originals, [...held.keys(), ...others.map(({ path }) => path)])
  const removed: JournalRecord[] = [
    ...without(news.backups, idsOf(backups)).map((id) => ({ type: 'removed', what: 'backup', id }) as const),
    ...without(news.ignored, idsOf(ignored)).map((id) => ({ type: 'removed', what: 'ignored', id }) as const),
    ...gone.map((path) => ({ type: 'removed', what: 'original', path }) as const),
  ]
  // What takes the place of something comes before that is taken away.
  return { records: [...backups, ...others, ...ignored, ...removed], originals: [...held.values(), ...others], gone }
}

async function ifAny<Key, Row>(keys: readonly Key[], read: (keys: readonly Key[]) => Promise<Row[]>): Promise<Row[]> {
  return keys.length === 0 ? [] : read(keys)
}

function idsOf(rows: readonly { id: number }[]): number[] {
  return rows.map(({ id }) => id)
}

function without<Key>(keys: readonly Key[], found: readonly NoInfer<Key>[] | readonly string[]): Key[] {
  const known = new Set<unknown>(found)
  return keys.filter((key) => !known.has(key))
}
