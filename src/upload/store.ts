/*
 * upload/: One file arrives: received, inspected, looked up, decided, committed, recorded. When it is answered, it is
 * durable.
 */

import { noteIfUnsure } from '../archive/changes.ts'
import { askExifTool } from '../archive/exiftool.ts'
import type { Library } from '../archive/library.ts'
import { ifReadable } from '../base/if-readable.ts'
import { type Backup, findBackup } from '../catalogue/backups.ts'
import type { Answer, KnownAsset, Role } from '../catalogue/look-up.ts'
import type { Completion, Recorded } from '../catalogue/record.ts'
import { AppError } from '../errors.ts'
import { captureOf, ownDateOf } from '../format/capture.ts'
import { type LibraryPath, parseLibraryPath } from '../format/layout.ts'
import { safeName } from '../format/names.ts'
import type { Checksum } from '../media/checksum.ts'
import { inspect, type MediaFacts } from '../media/inspect.ts'
import { EDITS, extensionOf, type MediaKind, mediaTypeOf } from '../media/media-type.ts'
import type { Drive } from '../storage/drive.ts'
import { sizeOf } from '../storage/originals.ts'
import type { Staged } from '../storage/staging.ts'
import { chooseRow } from './choose-row.ts'
import { nameOnPhone, stemOnPhone, wholeName, withoutFragment } from './phone-path.ts'
import { commitOriginal } from './place.ts'
import { stemOfEdited, type Wish, wishFor } from './wish.ts'

/** A whole upload: its staged bytes and what the phone said about them. What it did not say is null. */
export interface Upload {
  staged: Staged
  deviceId: string
  path: string | null
  assetId: string | null
  fileName: string | null
  /** The media type and kind that the phone claims; the bytes know better, where they tell. */
  claimedType: string | null
  claimedKind: MediaKind | null
  /** ms since 1970. */
  created: number | null
  /** Where it came from. */
  address: string
}

export interface Stored {
  backup: Backup
  /** Whether its bytes were new to the library, or replaced a copy that had gone. */
  isNew: boolean
}

/** What the bytes of an upload are, and what they shall be called. */
interface Subject {
  facts: MediaFacts
  mediaType: string
  kind: MediaKind
  /** Safe, before any number. */
  name: string
  /** Among those that belong together, such as the halves of a Live Photo. */
  role: Role
  /** What they share on the phone; null if it has no name there. */
  stem: string | null
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

async function inspectUpload(
  { staged, path, fileName, claimedType, claimedKind }: Upload,
  now: Date,
): Promise<Subject> {
  const facts = await inspect(staged.readAt, staged.size, now)
  const givenName = fileName || (path === null ? '' : nameOnPhone(path))
  const mediaType = mediaTypeOf(facts.mediaType, givenName) ?? claimedType ?? 'application/octet-stream'
  const kind = facts.kind ?? claimedKind ?? (mediaType.startsWith('video/') ? 'video' : 'photo')
  const name = safeName(wholeName(givenName, kind), `${kind}${extensionOf(mediaType)}`)
  const role = mediaType === EDITS ? 'edits' : kind === 'video' ? 'movie' : 'still'
  const stem = path === null ? null : stemOnPhone(path)
  return { facts, mediaType, kind, name, role, stem: role === 'edits' && stem !== null ? stemOfEdited(stem) : stem }
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

/**
 * Another process may change what lies on the drive at the same moment: then it is decided again, with what is so now.
 */
const TRIES = 3

async function storeSubject(library: Library, upload: Upload, subject: Subject): Promise<Stored> {
  for (let tries = 1; tries < TRIES; tries++) {
    const stored = await tryToStore(library, upload, subject, false)
    if (stored !== undefined) return stored
  }
  const stored = await tryToStore(library, upload, subject, true)
  if (stored !== undefined) return stored
  throw new AppError(
    'drive_error',
    'The copy of this file on the drive was lost while it was being recorded. Send it again.',
  )
}

/** Returns `undefined`, with nothing recorded, if what it was decided by is not so any more. */
async function tryToStore(
  library: Library,
  upload: Upload,
  subject: Subject,
  isLast: boolean,
): Promise<Stored | undefined> {
  const { deviceId, path, assetId, address } = upload
  const { checksum, size } = upload.staged
  const { facts, mediaType, kind, name, role, stem } = subject
  const contentId = facts.contentId ?? null
  const { timeZone } = library
  const arrived = library.now()
  // The catalogue answers while the drive flushes; from here on the bytes are durable.
  const said = { checksum, size, assetId, address, created: upload.created }
  const own = ownDateOf(facts.captured, arrived, timeZone)?.getTime() ?? null
  const question = { ...said, deviceId, path, taken: own, stem, contentId, role }
  const [answer] = await Promise.all([library.lookUp(question), upload.staged.durable])

  const { announced, twin } = chooseRow({ ...said, taken: own ?? upload.created }, answer.samePath)
  const known = announced ?? twin
  const created = upload.created ?? known?.created ?? null
  const lastSaid = answer.samePath.findLast((row) => row.created !== null)?.created ?? null
  const nobodySays = facts.isForeign && created === null && lastSaid === null && answer.sameContent.length === 0
  const asked = nobodySays ? await askExifTool(library, upload.staged.path, arrived) : undefined
  const capture = captureOf(facts.captured ?? asked, created ?? lastSaid, arrived, timeZone)
  const half = assetId ?? known?.assetId ?? twin?.assetId ?? null

  const kept = await keep(library, upload, answer, announced, isLast, () =>
    wishFor({ name, role, assetId: half, contentId, capture }, answer, timeZone),
  )
  if (kept === undefined) return undefined

  const isRecorded = announced === undefined && twin !== undefined && (assetId === null || assetId === twin.assetId)
  if (isRecorded && kept.origin === 'found') {
    const backup = await findBackup(library.db, twin.id)
    if (backup?.status === 'Completed') return { backup, isNew: false }
  }
  const completion: Completion = {
    rowId: twin?.id ?? announced?.id ?? null,
    supersededId: twin === undefined ? null : (announced?.id ?? null),
    deviceId,
    path,
    assetId: half,
    created,
    modified: known?.modified ?? null,
    announcedSize: known?.announcedSize ?? null,
    announcedFrom: known?.announcedFrom ?? null,
    sentFrom: address,
    isIdentified: assetId !== null || [announced, twin].some((row) => isOfThese(row, half, checksum)),
    fileName: name,
    kind,
    timestamp: library.now(),
    file: {
      checksum,
      size,
      mediaType,
      capturedAt: kept.capturedAt === undefined ? capture.at : kept.capturedAt,
      capturedOffset: kept.capturedOffset === undefined ? capture.offset : kept.capturedOffset,
      contentId,
      ownDate: ownDateOf(facts.captured ?? asked, arrived, timeZone),
      path: kept.path,
      isNew: kept.origin === 'committed',
      replaces: kept.replaces,
      succeeds: announced?.isLost === true && announced.filePath !== kept.path ? announced.filePath : null,
    },
  }
  const recording = noteIfUnsure(library.changed, library.record(completion))
  const recorded = await recording.catch((error: unknown) => {
    // Whether the catalogue has the name is not known: the next look at the folder tells.
    library.names.forget()
    library.unrecorded.tell()
    throw error
  })
  if (recorded === undefined) return undefined
  noteCompletion(library, recorded, completion)
  return { backup: backupOf(recorded.id, completion), isNew: kept.origin !== 'found' }
}

/** Whether that asset id came with these bytes when they were sent before. */
function isOfThese(row: KnownAsset | undefined, assetId: string | null, checksum: Checksum): boolean {
  return row?.isIdentified === true && row.assetId === assetId && row.checksum === checksum
}

function noteCompletion(library: Library, { id, moved }: Recorded, { supersededId, file }: Completion): void {
  const backups = supersededId === null ? [id, ...moved] : [id, supersededId, ...moved]
  const gone = [file.replaces, file.succeeds].flatMap((path) => (path === null ? [] : parseLibraryPath(path)))
  library.changed({ backups, originals: file.isNew ? [parseLibraryPath(file.path), ...gone] : gone })
}

/** The row that a completion makes. */
function backupOf(id: number, { file, ...completion }: Completion): Backup {
  return {
    id,
    file_name: completion.fileName,
    file_path: file.path,
    file_size: file.size,
    file_type: completion.kind,
    mime_type: file.mediaType,
    timestamp: completion.timestamp,
    status: 'Completed',
    original_path: completion.path,
    device_id: completion.deviceId,
    captured_at: file.capturedAt,
    sha256: file.checksum,
    failure: null,
  }
}

/** Where the bytes of an upload are now. */
interface Kept {
  path: LibraryPath
  /** Whether they were there, were put back where they had been lost, or got a new place. */
  origin: 'found' | 'restored' | 'committed'
  /** The path of a lost copy whose place could not be had. */
  replaces: LibraryPath | null
  /** When known from before. */
  capturedAt?: Date | null
  capturedOffset?: number | null
}

/**
 * Keeps the content once: finds the copy that the drive has, puts it back where it was lost, or commits it where `wish`
 * says. Returns `undefined` if that has to be decided again, but not the `isLast` time.
 */
async function keep(
  library: Library,
  { staged, address }: Upload,
  answer: Answer,
  announced: KnownAsset | undefined,
  isLast: boolean,
  wish: () => Wish,
): Promise<Kept | undefined> {
  const { drive } = library
  const copies = [...answer.sameContent]
  await drive.checkTouched()
  for (const path of answer.unreadOfSize.map(parseLibraryPath)) {
    if (!(await mayHold(drive, path, staged.size))) continue
    if (!(await library.lostAndUnread.hasContent(library, path, staged.checksum))) continue
    // The catalogue has it by its content now.
    if (!isLast) return undefined
    copies.push({ path, size: staged.size, capturedAt: null, capturedOffset: null, isLost: false })
  }
  const lost: LibraryPath[] = []
  for (const copy of copies) {
    const path = parseLibraryPath(copy.path)
    if (copy.isLost || (await ifReadable(sizeOf(drive, path))) !== staged.size) {
      lost.push(path)
      continue
    }
    const capturedAt = copy.capturedAt === null ? null : new Date(copy.capturedAt)
    return { path, origin: 'found', replaces: null, capturedAt, capturedOffset: copy.capturedOffset }
  }
  if (lost.length === 0 && announced?.announcedFrom === address) lost.push(...lostUnread(answer, staged))
  for (const path of lost) {
    if (copies.length === 0 && !(await mayHold(drive, path, staged.size))) continue
    const place = await library.lostAndUnread.takePlace(library, staged, path, address)
    if (place === 'found' || place === 'restored') return { path, origin: place, replaces: null }
    if (place === 'changed' && !isLast) return undefined
  }
  const replaces = copies.length === 0 ? null : (lost[0] ?? null)
  const path = await commitOriginal(library, staged, wish(), isLast)
  return path === undefined ? undefined : { path, origin: 'committed', replaces }
}

/**
 * Whether what lies at `path`, which nobody has read, can be so many bytes: what is something else by its length is not
 * read while a phone waits.
 */
async function mayHold(drive: Drive, path: LibraryPath, size: number): Promise<boolean> {
  const found = await ifReadable(sizeOf(drive, path))
  return found === undefined || found === size
}

/**
 * Originals of an older server that were lost before anybody had read them. All that is known of them is the phone's
 * path and their size: enough for what was announced from the address that it came from, so that a phone which is asked
 * for it anew puts it back.
 */
function lostUnread({ samePath }: Answer, { size }: Staged): LibraryPath[] {
  const rows = samePath.filter((row) => row.isLost === true && row.checksum === null && row.size === size)
  return [...new Set(rows.flatMap((row) => row.filePath ?? []))].map(parseLibraryPath)
}
