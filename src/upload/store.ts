/*
 * upload/: One file arrives: received, inspected, looked up, decided, committed, recorded. When it is answered, it is
 * durable.
 */

import type { Library } from '../archive/library.ts'
import { type Backup, findBackup } from '../catalogue/backups.ts'
import type { Completion } from '../catalogue/record.ts'
import { AppError } from '../errors.ts'
import { backupOf, completionOf } from './completion.ts'
import { decide } from './decide.ts'
import { inspectUpload, type Subject, type Upload } from './inspect-upload.ts'
import { type Kept, keep } from './keep.ts'
import { type Known, lookUp } from './known.ts'
import { withoutFragment } from './phone-path.ts'
import { wishFor } from './wish.ts'

export interface Stored {
  backup: Backup
  /** Whether its bytes were new to the library, or replaced a copy that had gone. */
  isNew: boolean
}

/**
 * The story of an upload from its staged bytes to its row: inspect, deduplicate, commit, record. When it returns, a
 * power cut loses nothing of it. The staged file remains the caller's, to be discarded whether this succeeds or throws.
 */
export async function store(library: Library, upload: Upload): Promise<Stored> {
  const subject = await inspectUpload(upload, library.now())
  const { content, asset } = library.locks
  const { contentId } = subject.facts
  // What belongs together is stored one after the other, known by its path or by what is in it: always in this order.
  const byContentId = () => {
    const run = () => storeOnce(library, upload, subject)
    return contentId === undefined ? run() : asset.run(contentId, run)
  }
  const key = upload.path === null ? null : (subject.stem ?? withoutFragment(upload.path))
  return content.run(upload.staged.checksum, () =>
    key === null ? byContentId() : asset.run(`${upload.deviceId}\n${key}`, byContentId),
  )
}

/** What is recorded, or was all the time, needs not be remembered; what has failed may have been given its place. */
async function storeOnce(library: Library, upload: Upload, subject: Subject): Promise<Stored> {
  const { checksum } = upload.staged
  try {
    const stored = await storeSubject(library, upload, subject)
    library.unrecorded.settle(checksum)
    return stored
  } catch (error) {
    library.unrecorded.leave(checksum)
    throw error
  }
}

/** How often it is decided anew, where what was known has changed meanwhile: each time more is known. */
const TRIES = 5

async function storeSubject(library: Library, upload: Upload, subject: Subject): Promise<Stored> {
  for (let tries = 0; tries < TRIES; tries++) {
    const stored = await tryToStore(library, upload, subject)
    if (stored !== 'again') return stored
  }
  throw new AppError(
    'drive_error',
    'What lies on the drive changed again and again while this file was being stored. Send it again.',
  )
}

/** Look up, decide, act, record. */
async function tryToStore(library: Library, upload: Upload, subject: Subject): Promise<Stored | 'again'> {
  const { staged, address } = upload
  const known = await lookUp(library, upload, subject)
  const decision = decide({ size: staged.size, address, ...known })
  const kept = await keep(library, upload, decision, () =>
    wishFor({ ...subject, ...known, contentId: subject.facts.contentId ?? null }, known.answer, library.timeZone),
  )
  if (kept === 'again') return 'again'
  const recorded = await findRecorded(library, upload, known, kept)
  return recorded ?? record(library, completionOf(upload, subject, known, kept, library.now()), kept)
}

/** What is recorded already, as it is now, is not recorded once more. */
async function findRecorded(
  library: Library,
  { assetId }: Upload,
  { announced, twin }: Known,
  kept: Kept,
): Promise<Stored | undefined> {
  const isRecorded = announced === undefined && twin !== undefined && (assetId === null || assetId === twin.assetId)
  if (!isRecorded || kept.origin !== 'found') return undefined
  const backup = await findBackup(library.db, twin.id)
  return backup?.status === 'Completed' ? { backup, isNew: false } : undefined
}

async function record(library: Library, completion: Completion, { origin }: Kept): Promise<Stored | 'again'> {
  const id = await library.record(completion).catch((error: unknown) => {
    // Whether the catalogue has the name is not known: the next look at the folder tells.
    library.names.forget()
    library.unrecorded.tell()
    throw error
  })
  if (id === undefined) return 'again'
  return { backup: backupOf(id, completion), isNew: origin !== 'found' }
}
