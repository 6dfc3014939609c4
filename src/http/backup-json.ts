import { shown } from '../base/shown.ts'
import type { Backup as BackupRow } from '../catalogue/backups.ts'
import type { Backup } from './schemas.ts'

/** A row as the API shows it. */
export function backupJson({ failure, ...row }: BackupRow): Backup {
  return {
    ...row,
    file_name: shown(row.file_name),
    timestamp: row.timestamp?.toISOString() ?? null,
    captured_at: row.captured_at?.toISOString() ?? null,
    ...(failure === null ? {} : { failure }),
  }
}
