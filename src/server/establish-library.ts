import type { Database } from '../catalogue/connection.ts'
import { findLibraryId } from '../catalogue/library.ts'
import { hasRows } from '../catalogue/rebuild/restore.ts'
import { AppError } from '../errors.ts'
import { establishIdentity } from '../rebuild/open.ts'
import { withRebuildLock } from '../rebuild/rebuild.ts'
import { restoreJournal } from '../rebuild/restore-journal.ts'
import type { LibraryFile } from '../storage/identity.ts'
import { patiently, type Start } from './start.ts'

const PROGRESS_MS = 10_000

/**
 * Finds out which library it is that the catalogue and the drive have in common, waiting for what is missing, and lets
 * the routes ask the catalogue. An empty catalogue beside a library that is not is rebuilt from the journal first, if
 * the settings say so; else waited with, and nobody may ask it: what phones would tell it now were in the way of what
 * comes back. `openPatient` opens the catalogue without a limit of time.
 */
export async function establishLibrary(start: Start, db: Database, openPatient: () => Database): Promise<string> {
  const { config, state, log } = start
  const rebuild = async (library: LibraryFile) => {
    const patient = openPatient()
    try {
      await rebuildFromJournal(start, patient, library)
    } finally {
      await patient.destroy()
    }
  }
  let before: string | undefined
  const id = await patiently(start, async () => {
    try {
      before ??= await findLibraryId(db)
      return await start.control.establish(() =>
        establishIdentity(db, config.libraryFolder, new Date(), config.autoRebuild ? rebuild : undefined),
      )
    } catch (error) {
      // While the drive is away, what the catalogue knows is answered. One that knows nothing is not to be told
      // anything either: it would belong to the library that it has now, and could not be taken elsewhere.
      if (await hasRows(db)) state.setDatabase(db)
      throw error
    }
  })
  if (before !== undefined && before !== id) {
    log.info({ library: config.libraryFolder }, 'the database belongs to the library in this folder from now on')
  }
  state.setDatabase(db)
  return id
}

async function rebuildFromJournal({ config, state, log, signal }: Start, db: Database, library: LibraryFile) {
  state.setReason(
    new AppError(
      'rebuild_needed',
      'The database was empty and is being rebuilt from the drive. Nothing is lost; try again in some minutes.',
    ),
  )
  log.warn(
    { library: config.libraryFolder },
    'the database is empty, but the drive holds a library with photos: everything is brought back from it',
  )
  let reported = performance.now()
  const restored = await withRebuildLock(library.id, () =>
    restoreJournal(db, config.libraryFolder, library, {
      report: (lines) => {
        if (performance.now() - reported < PROGRESS_MS) return
        reported = performance.now()
        log.info({ lines }, 'reading the journal')
      },
      signal,
    }),
  )
  log.info(restored, 'the database knows again what the journal on the drive knew')
}
