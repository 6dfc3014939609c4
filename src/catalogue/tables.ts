import type { Generated } from 'kysely'
import type { MediaKind } from '../media/media-type.ts'

export type BackupStatus = 'Pending' | 'Completed' | 'Failed'

/** One row per asset of a device. Columns that the older Flask server made may hold null in its rows. */
export interface BackupsTable {
  id: Generated<number>
  file_name: string
  /** The original's path in the library, as in `files.path`; null until there is one. */
  file_path: string | null
  /** The path on the phone, as it was sent. */
  original_path: string | null
  /** Bytes; of a `Pending` row what the phone announced, null if it did not know. */
  file_size: number | null
  file_type: string
  mime_type: string | null
  device_id: string | null
  timestamp: Date | null
  status: BackupStatus
  asset_id: string | null
  /** What the phone said when it announced the asset: ms since 1970, ms since 1970, bytes. */
  created: number | null
  modified: number | null
  announced_size: number | null
  /** The address of the phone that announced it. */
  announced_from: string | null
  /** The address that its bytes came from, or the list with their checksum; null in rows from before 0.3. */
  sent_from: string | null
  /** Whether its asset id came with its bytes. */
  is_identified: Generated<boolean>
  /** Why a `Failed` row failed. */
  failure: string | null
  /** Device and path (without the fragment of a `file://` path) as one key; see migration 2. */
  asset_key: Generated<string>
}

/** One row per original on the drive. */
export interface FilesTable {
  path: string
  /** SHA-256; null for originals of an older server until they have been read. */
  checksum: Buffer | null
  size: number | null
  media_type: string | null
  captured_at: Date | null
  /** Minutes east of UTC where it was taken; null if the original does not say. */
  captured_offset: number | null
  /**
   * Apple's content identifier, which both halves of a Live Photo have; null if it has none, or was read before we knew
   * of it.
   */
  content_id: string | null
  /**
   * The capture date that this server has found in its bytes, minus infinity if there is none; null until it has looked
   * for one. What the phone says, or a journal, never comes here.
   */
  own_date: Date | null
  stored_at: Date | null
}

/** Where originals lie: the library (number 0, which is always there) and its mirrors. */
export interface PlacesTable {
  id: number
  role: CopyPlace
  /** The identity of what lies there (`library.json`); null until the library is known. */
  identity: string | null
  /** Since when it has been that place. */
  since: Date | null
  /** Its folder when it was last there, and where its file system was mounted; null if that is not known. */
  folder: string | null
  mount_point: string | null
  /** Up to which path originals have been put on the list of what a new mirror is to have; null: all of them. */
  listed_until: string | null
  /**
   * When the library's folders were last compared with the catalogue from end to end; null until a rebuild, or a first
   * start, has done so.
   */
  walked_at: Date | null
  /** Up to which path originals of an older server have been looked at on the drive; null: all of them. */
  looked_until: string | null
  /** Whether the last server has ended with all uploads recorded: false while one runs, and after it was killed. */
  stopped_cleanly: Generated<boolean>
}

/**
 * What is known of an original in a place. Triggers add it with the original: it is there in the library, and wanted on
 * every mirror once it has been read.
 */
export interface CopiesTable {
  place: number
  path: string
  /** Since when it should be there, intact, and is not; null: it is there. */
  wanted_since: Date | null
  /** When it was found not to be there any more; null if it is there, or never was. */
  lost_at: Date | null
  /** When it was written there; null if nobody knows, or it was not. */
  copied_at: Date | null
  /** When it was last read back and found intact. */
  verified_at: Date | null
  /** To be read again soon: there was trouble around the time when it was written. */
  recheck: Generated<boolean>
}

export type CopyPlace = 'library' | 'mirror'
export const FINDING_KINDS = ['missing', 'corrupt', 'unreadable', 'unknown', 'sums'] as const
export type FindingKind = (typeof FINDING_KINDS)[number]

/** What verification has found wrong. Open until `healed_at`; at most one open row per place, path and kind. */
export interface FindingsTable {
  id: Generated<number>
  place: number
  kind: FindingKind
  path: string
  /** Checksums, as far as they matter. */
  expected: string | null
  found: string | null
  /** Where the corrupt file lies now, relative to its drive. */
  quarantined: string | null
  found_at: Date
  healed_at: Date | null
  /** What healed it, in words. */
  healed_by: string | null
  /** When a person said that they know and it is no problem; null otherwise. */
  accepted_at: Date | null
  /** Whether people have been told of it while it was open. */
  is_told: Generated<boolean>
}

export type Severity = 'warning' | 'error'

/**
 * What is wrong with the household's backup. Cleared ones stay until everybody has been told who was told that they
 * were raised.
 */
export interface AlertsTable {
  key: string
  severity: Severity
  title: string
  message: string
  /** Since when it has been so. */
  since: Date
  /** When it was noticed, and when it had last become more since, or worse, and was told again. */
  began_at: Date
  raised_at: Date
  cleared_at: Date | null
  /** Nothing is wrong now; people should know all the same. */
  is_note: Generated<boolean>
  /** How much of it has ever been found, as far as this says; null where that can't grow. */
  found: number | null
  /** Grows whenever it has to be told again. */
  edition: Generated<number>
}

/** Who believes that an alert is raised: told so, and not told yet that it was cleared. */
export interface AlertReceiptsTable {
  key: string
  /** Stands for an address, which may hold a password: its checksum. */
  receiver: string
  told_at: Date
  /** The last edition that it was told. */
  edition: Generated<number>
}

/** What `backups` does not tell of a device; one that has none has never looked in. */
export interface DevicesTable {
  device_id: string
  /** When it last sent a list, to the hour. */
  last_seen: Date | null
  /** Whether it has ever announced anything. */
  has_announced: Generated<boolean>
  /** When a person said that it is no problem if it is quiet; null otherwise, and once it has been heard of again. */
  forgotten_at: Date | null
}

export interface IgnoredFilesTable {
  id: Generated<number>
  file_name: string
  original_path: string
  device_id: string | null
  /** When it was ignored; null in some rows of an older server. */
  timestamp: Date | null
  asset_id: string | null
  /** What was known of the asset, as in `backups`. */
  created: number | null
  announced_size: number | null
  /** The address of the client that has ignored it; null where that is not known. */
  ignored_from: string | null
  asset_key: Generated<string>
}

/**
 * What has changed and is not on the drive yet, kept by triggers: ids in `backups` and `ignored_files`, paths in
 * `files` (`facts`: its content, and when it was stored, are as they were); month folders whose SHA256SUMS is to be
 * compared with the catalogue, the library's or the mirror's; and whether the journal is owed a snapshot.
 */
export interface OutboxTable {
  seq: Generated<number>
  what: 'backup' | 'original' | 'facts' | 'ignored' | 'sums' | 'snapshot'
  key: string
}

/** `backups` counted; kept by triggers. */
export interface BackupTotalsTable {
  device_id: string
  status: BackupStatus
  file_type: string
  count: number
  /** When the device's first row of this status and kind was seen. */
  since: Generated<Date>
}

/** An original with what is known of it in the library: a view. */
export type OriginalsView = FilesTable & Pick<CopiesTable, 'lost_at' | 'copied_at' | 'verified_at' | 'recheck'>

/**
 * What is known of a copy: read back and intact; written and not read back since; not read at all yet; not there any
 * more, or not intact; never been there.
 */
export type CopyState = 'intact' | 'unverified' | 'unread' | 'lost' | 'wanted'

/** `copies` counted; kept by triggers. What there is none of may have no row. */
export interface PlaceTotalsTable {
  place: number
  state: CopyState
  kind: MediaKind
  files: number
  bytes: number
}

/** What the library has, counted: a view of `place_totals`. Exactly one row. */
export interface LibrarySizeTable {
  files: number
  bytes: number
}

/**
 * Who has how many of the rows that lists make: of `backups` those that wait for their files, and `ignored_files`; kept
 * by triggers.
 */
export interface RowSharesTable {
  what: 'waiting' | 'ignored'
  /** The client's, of IPv6 its network alone (`iclood_share_of`); empty where it is not known. */
  address: string
  device_id: string
  count: number
}

export interface Tables {
  backups: BackupsTable
  files: FilesTable
  ignored_files: IgnoredFilesTable
  places: PlacesTable
  outbox: OutboxTable
  backup_totals: BackupTotalsTable
  row_shares: RowSharesTable
  place_totals: PlaceTotalsTable
  library_size: LibrarySizeTable
  copies: CopiesTable
  originals: OriginalsView
  findings: FindingsTable
  alerts: AlertsTable
  alert_receipts: AlertReceiptsTable
  devices: DevicesTable
}
