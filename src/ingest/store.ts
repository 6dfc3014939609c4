import { type Backup, findBackup } from '../catalogue/backups.ts'
import type { Answer } from '../catalogue/look-up.ts'
import type { Completion } from '../catalogue/record.ts'
import { inspect, type MediaFacts } from '../media/inspect.ts'
import { extensionOf, type MediaKind, mediaTypeOf } from '../media/media-type.ts'
import { type LibraryPath, parseLibraryPath } from '../storage/layout.ts'
import { safeName } from '../storage/names.ts'
import { sizeOf } from '../storage/originals.ts'
import type { Staged } from '../storage/staging.ts'
import { captureOf } from './capture.ts'
import { chooseRow } from './choose-row.ts'
import { ifReadable } from './if-readable.ts'
import type { Library } from './library.ts'
import { nameOnPhone, stemOnPhone, withoutFragment } from './phone-path.ts'
import { commitOriginal, restoreOriginal, type Wish, wishFor } from './place.ts'
import { readOriginal } from './read-original.ts'

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
  /** What the halves of a Live Photo share on the phone; null if it can't be one. */
  stem: string | null
}

/**
 * The story of an upload from its staged bytes to its row: inspect, deduplicate, commit, record. When it returns, a power cut
 * loses nothing of it. The staged file remains the caller's, to be discarded whether this succeeds or throws.
 */
export async function store(library: Library, upload: Upload): Promise<Stored> {
  const subject = await inspectUpload(upload)
  const { content, asset } = library.locks
  const run = () => storeSubject(library, upload, subject)
  const key = upload.path === null ? null : (subject.stem ?? withoutFragment(upload.path))
  return content.run(upload.staged.checksum, () =>
    key === null ? run() : asset.run(`${upload.deviceId}\n${key}`, run),
  )
}

async function inspectUpload({ staged, path, fileName, claimedType, claimedKind }: Upload): Promise<Subject> {
  const facts = await inspect(staged.readAt, staged.size)
  const givenName = fileName || (path === null ? '' : nameOnPhone(path))
  const mediaType = mediaTypeOf(facts.mediaType, givenName) ?? claimedType ?? 'application/octet-stream'
  const kind = facts.kind ?? claimedKind ?? (mediaType.startsWith('video/') ? 'video' : 'photo')
  const name = safeName(givenName, `${kind}${extensionOf(mediaType)}`)
  return { facts, mediaType, kind, name, stem: path === null ? null : stemOnPhone(path) }
}

async function storeSubject(library: Library, upload: Upload, subject: Subject): Promise<Stored> {
  const { deviceId, path, assetId, address } = upload
  const { checksum, size } = upload.staged
  const { facts, mediaType, kind, name, stem } = subject
  const { timeZone } = library
  const arrived = library.now()
  // The catalogue answers while the drive flushes; from here on the bytes are durable.
  const question = { checksum, size, deviceId, path, stem, kind }
  const [answer] = await Promise.all([library.lookUp(question), upload.staged.durable])

  const taken = captureOf(facts, upload.created, arrived, timeZone).at?.getTime() ?? null
  const { announced, twin } = chooseRow({ checksum, assetId, address, taken }, answer.samePath)
  const said = announced ?? twin
  const created = upload.created ?? said?.created ?? null
  const lastSaid = answer.samePath.findLast((row) => row.created !== null)?.created ?? null
  const capture = captureOf(facts, created ?? lastSaid, arrived, timeZone)
  const half = assetId ?? said?.assetId ?? twin?.assetId ?? null

  const kept = await keep(library, upload.staged, answer, () =>
    wishFor(name, kind, half, capture, answer.otherHalves, timeZone),
  )

  const isRecorded = announced === undefined && twin !== undefined && (assetId === null || assetId === twin.assetId)
  if (isRecorded && !kept.isNew) {
    const backup = await findBackup(library.db, twin.id)
    if (backup !== undefined) return { backup, isNew: false }
  }
  const completion: Completion = {
    rowId: twin?.id ?? announced?.id ?? null,
    supersededId: twin === undefined ? null : (announced?.id ?? null),
    deviceId,
    path,
    assetId: half,
    created,
    modified: said?.modified ?? null,
    announcedSize: said?.announcedSize ?? null,
    announcedFrom: said?.announcedFrom ?? null,
    fileName: name,
    kind,
    timestamp: library.now(),
    file: { checksum, size, mediaType, capturedAt: capture.at, capturedOffset: capture.offset, ...kept },
  }
  const id = await library.record(completion).catch((error: unknown) => {
    // Whether the catalogue has the name is not known: the next look at the folder tells.
    library.names.forget()
    throw error
  })
  return { backup: backupOf(id, completion), isNew: kept.isNew }
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
  /** Whether they were put there now. */
  isNew: boolean
  /** Whether they replace, under the path where the catalogue has them, a copy that had gone. */
  isRestored: boolean
  /** The path of a copy that had gone and whose place is taken. */
  replaces: LibraryPath | null
  /** When known from before. */
  capturedAt?: Date | null
  capturedOffset?: number | null
}

/** Keeps the content once: finds the copy that the drive has, puts it back where it has gone, or commits it where `wish` says. */
async function keep(library: Library, staged: Staged, answer: Answer, wish: () => Wish): Promise<Kept> {
  const { drive } = library
  const copies = [...answer.sameContent]
  await drive.checkTouched()
  for (const path of answer.unreadOfSize.map(parseLibraryPath)) {
    const read = await ifReadable(readOriginal(library, path))
    if (read?.checksum === staged.checksum) {
      copies.push({ ...read, capturedAt: read.capturedAt?.getTime() ?? null })
    }
  }
  for (const copy of copies) {
    const path = parseLibraryPath(copy.path)
    if ((await sizeOf(drive, path)) !== staged.size) continue
    const capturedAt = copy.capturedAt === null ? null : new Date(copy.capturedAt)
    return { path, isNew: false, isRestored: false, replaces: null, capturedAt, capturedOffset: copy.capturedOffset }
  }
  const gone = copies[0] === undefined ? null : parseLibraryPath(copies[0].path)
  if (gone !== null && (await restoreOriginal(library, staged, gone)))
    return { path: gone, isNew: true, isRestored: true, replaces: null }
  return { path: await commitOriginal(library, staged, wish()), isNew: true, isRestored: false, replaces: gone }
}
