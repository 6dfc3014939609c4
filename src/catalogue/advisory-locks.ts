import { sql } from 'kysely'
import type { Database } from './connection.ts'

/** Any number that no other program has chosen; migrations spell it and its locks out, since none is ever edited. */
const SPACE = 7_236_844

/** What goes on once at a time. The triggers that count take the first two as well. */
const LOCKS = {
  /** Rows of `backups` are counted. */
  counting: 1,
  /** Files are marked as ignored: old households have duplicates, so no unique index can keep two requests apart. */
  ignoring: 2,
  /** Known content is recorded: a phone that asks twice at once must not get two rows. */
  recordingKnown: 3,
  /** Rows are announced: to ask whether one is there and to make it is cheaper for all together than for each. */
  announcing: 4,
  /** The catalogue is rebuilt: the second one finds nothing left to do. */
  rebuilding: 5,
} as const

/** Waits until nobody else does that; from then on nobody else does until the transaction ends. */
export async function lock(transaction: Database, what: keyof typeof LOCKS): Promise<void> {
  await sql`select pg_advisory_xact_lock(${SPACE}::int, ${LOCKS[what]}::int)`.execute(transaction)
}
