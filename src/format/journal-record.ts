import type { Checksum } from '../media/checksum.ts'
import type { MediaKind } from '../media/media-type.ts'

/** An original, as docs/drive-format.md describes it; times are ISO 8601. */
export interface OriginalFacts {
  path: string
  sha256: Checksum | null
  size: number | null
  media_type: string | null
  captured_at: string | null
  captured_offset: number | null
  /** Apple's content identifier; left out where there is none. */
  content_id?: string
  stored_at: string | null
  verified_at: string | null
}

export interface OriginalRecord extends OriginalFacts {
  type: 'original'
}

export interface BackupRecord {
  type: 'backup'
  id: number
  device: string | null
  phone_path: string | null
  asset_id: string | null
  name: string
  kind: MediaKind | (string & {})
  status: 'Completed' | 'Failed'
  failure: string | null
  at: string | null
  created: number | null
  modified: number | null
  announced_size: number | null
  announced_from: string | null
  /** Not in the lines of servers before 0.3. */
  sent_from?: string | null
  size: number | null
  media_type: string | null
  original: OriginalFacts | null
}

export interface IgnoredRecord {
  type: 'ignored'
  id: number
  device: string | null
  phone_path: string
  asset_id: string | null
  name: string
  at: string | null
  /** Not in the lines of servers before 0.3. */
  created?: number | null
  announced_size?: number | null
  ignored_from?: string | null
}

export type RemovedRecord =
  | { type: 'removed'; what: 'backup' | 'ignored'; id: number }
  | { type: 'removed'; what: 'original'; path: string }

/** What the journal says of the catalogue. */
export type JournalRecord = OriginalRecord | BackupRecord | IgnoredRecord | RemovedRecord

export interface HeaderLine {
  type: 'header'
  format: 1
  library: string
  kind: 'snapshot' | 'log'
  created: string
}

export interface EndLine {
  type: 'end'
  lines: number
}

export type JournalLine = HeaderLine | JournalRecord | EndLine
