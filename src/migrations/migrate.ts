/*
 * migrations/: The database's tables, version by version. A migration that a household may have run is never edited.
 */

import { type MigrationResultSet, Migrator, sql } from 'kysely'
import type { Database } from '../catalogue/connection.ts'
import { AppError } from '../errors.ts'
import * as flaskTables from './0001-flask-tables.ts'
import * as library from './0002-library.ts'
import * as proof from './0003-proof.ts'
import * as sameAsset from './0004-same-asset.ts'
import * as alarms from './0005-alarms.ts'
import * as oldOriginals from './0006-old-originals.ts'
import * as originalsByKind from './0006-originals-by-kind.ts'
import * as contentId from './0007-content-id.ts'
import * as whereabouts from './0009-whereabouts.ts'
import * as trust from './0011-trust.ts'
import * as bounds from './0012-bounds.ts'
import * as wrongSums from './0013-wrong-sums.ts'
import * as outbox from './0014-outbox.ts'
import * as places from './0015-places.ts'
import * as copies from './0016-copies.ts'

/** By name, in order. */
export const MIGRATIONS = {
  '0001-flask-tables': flaskTables,
  '0002-library': library,
  '0003-proof': proof,
  '0004-same-asset': sameAsset,
  '0005-alarms': alarms,
  '0006-old-originals': oldOriginals,
  '0006-originals-by-kind': originalsByKind,
  '0007-content-id': contentId,
  '0009-whereabouts': whereabouts,
  '0011-trust': trust,
  '0012-bounds': bounds,
  '0013-wrong-sums': wrongSums,
  '0014-outbox': outbox,
  '0015-places': places,
  '0016-copies': copies,
}

/** What is filled in portions, each committed by itself, between the migrations before and after it. */
const FILLED_AFTER = '0015-places'

/**
 * Brings the schema up to date; returns the names of the migrations that ran, in order. They run in one transaction but
 * for what is filled in portions, and goes on where it was interrupted; `report` is told how many originals that has
 * done. All of it is done under an advisory lock: several servers may start at once. Throws `database_unavailable` if
 * the database is away, and what PostgreSQL said if a migration fails, with nothing changed by it.
 */
export async function migrate(db: Database, report: (originals: number) => void = () => {}): Promise<string[]> {
  return db.connection().execute(async (connection) => {
    await sql`select pg_advisory_lock(7236844, 9)`.execute(connection)
    const migrator = new Migrator({ db: connection, provider: PROVIDER })
    try {
      const pending = (await migrator.getMigrations()).filter(({ executedAt }) => executedAt === undefined)
      const isBefore = pending.some(({ name }) => name === FILLED_AFTER)
      const before = isBefore ? await namesOf(migrator.migrateTo(FILLED_AFTER)) : []
      if (pending.length > 0) await places.fillCopies(connection, report)
      return [...before, ...(await namesOf(migrator.migrateToLatest()))]
    } finally {
      await sql`select pg_advisory_unlock(7236844, 9)`.execute(connection)
    }
  })
}

/** Of the migrations that ran; throws what stopped them. */
async function namesOf(run: Promise<MigrationResultSet>): Promise<string[]> {
  const { error, results } = await run
  if (error instanceof AppError) throw error
  if (error !== undefined) throw new Error('The database’s schema could not be brought up to date', { cause: error })
  return (results ?? []).filter((result) => result.status === 'Success').map((result) => result.migrationName)
}

const PROVIDER = { getMigrations: async () => MIGRATIONS }
