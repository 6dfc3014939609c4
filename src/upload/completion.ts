import type { Backup } from '../catalogue/backups.ts'
import type { KnownAsset } from '../catalogue/look-up.ts'
import type { Completion } from '../catalogue/record.ts'
import type { Subject, Upload } from './inspect-upload.ts'
import type { Kept } from './keep.ts'
import type { Known } from './known.ts'

/** What is to be recorded of an upload whose bytes are kept; `timestamp` is now. Pure. */
export function completionOf(
  { staged, deviceId, path, assetId, address }: Upload,
  { facts, mediaType, kind, name }: Subject,
  { announced, twin, ...known }: Known,
  kept: Kept,
  timestamp: Date,
): Completion {
  const row = announced ?? twin
  // Whether that asset id came with these bytes when they were sent before.
  const cameWithIt = (one: KnownAsset | undefined) =>
    one?.isIdentified === true && one.assetId === known.assetId && one.checksum === staged.checksum
  return {
    rowId: twin?.id ?? announced?.id ?? null,
    supersededId: twin === undefined ? null : (announced?.id ?? null),
    deviceId,
    path,
    assetId: known.assetId,
    created: known.created,
    modified: row?.modified ?? null,
    announcedSize: row?.announcedSize ?? null,
    announcedFrom: row?.announcedFrom ?? null,
    sentFrom: address,
    isIdentified: assetId !== null || cameWithIt(announced) || cameWithIt(twin),
    fileName: name,
    kind,
    timestamp,
    file: {
      checksum: staged.checksum,
      size: staged.size,
      mediaType,
      capturedAt: kept.capturedAt === undefined ? known.capture.at : kept.capturedAt,
      capturedOffset: kept.capturedOffset === undefined ? known.capture.offset : kept.capturedOffset,
      contentId: facts.contentId ?? null,
      ownDate: known.ownDate,
      path: kept.path,
      isNew: kept.origin === 'committed',
      replaces: kept.replaces,
      succeeds: announced?.isLost === true && announced.filePath !== kept.path ? announced.filePath : null,
    },
  }
}

/** The row that a completion makes. */
export function backupOf(id: number, { file, ...completion }: Completion): Backup {
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
