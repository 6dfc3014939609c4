import type { Role } from '../catalogue/look-up.ts'
import { safeName } from '../format/names.ts'
import { inspect, type MediaFacts } from '../media/inspect.ts'
import { EDITS, extensionOf, type MediaKind, mediaTypeOf } from '../media/media-type.ts'
import type { Staged } from '../storage/staging.ts'
import { nameOnPhone, stemOnPhone, wholeName } from './phone-path.ts'
import { stemOfEdited } from './wish.ts'

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

/** What the bytes of an upload are, and what they shall be called. */
export interface Subject {
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

/** Reads what the staged bytes tell, and names them. `now` bounds the dates that are believed. */
export async function inspectUpload(
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
