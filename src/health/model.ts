import type { Problem } from '../catalogue/alerts.ts'
import type { Device } from '../catalogue/devices.ts'
import type { Finding, FindingCount, HealedCount } from '../catalogue/findings.ts'
import type { TooMuchPower } from '../catalogue/superuser.ts'
import type { Proof } from '../catalogue/verification.ts'
import type { AppError } from '../errors.ts'
import type { LastingFailure } from '../journal/retries.ts'
import type { MirrorStatus } from '../mirror/status.ts'
import type { DataDirUsage } from '../postgres/space.ts'
import type { DiskUsage } from '../storage/space.ts'

/** The library's drive, if it is there; `refusal` says why it can't be written to, `undefined` if it can. */
export type DriveState =
  | { isPresent: true; usage: DiskUsage; refusal?: AppError | undefined }
  | { isPresent: false; reason: AppError }

/** What is known of the household's backup at one moment. */
export interface Facts {
  /** The present. */
  at: Date
  /** What has been backed up, by phones' counts: two phones may have the same photo. */
  backups: { photos: number; videos: number; last: Date | null }
  /** The originals. */
  proof: Proof
  /** When the next original is due to be read back; null without originals. */
  nextDue: Date | null
  /** Since when originals are overdue to be read back; null if none is. */
  overdueSince: Date | null
  drive: DriveState
  /** `undefined` if it is not known, since the library has not been there yet. */
  mirrors: readonly MirrorStatus[] | undefined
  /** What keeps the journal from being written. A command, which does not write it, knows of nothing. */
  journal: LastingFailure | undefined
  /** Those that have backed up for the longest time first; of many, the first of them. */
  devices: readonly Device[]
  /** The alerts that are raised, by key: when they were last told. */
  raised: ReadonlyMap<string, Date>
  findings: readonly FindingCount[]
  /** The disk of the embedded database; `undefined` if there is none. */
  dataDir: DataDirUsage | undefined
  /** The database's role, if it may do more than it should. */
  superuser: TooMuchPower | undefined
  /** What was found wrong and is well again. */
  healed: readonly HealedCount[]
}

/** What counts as wrong. */
export interface HealthRules {
  quietDays: number
  /** ms */
  verifyEvery: number
  /** Bytes. */
  minFreeSpace: number
  timeZone: string
}

/** The facts, and what is wrong with them: what people, programs and monitors are told. */
export interface Health extends Facts {
  /** The worst first. */
  problems: readonly Problem[]
  /** Nothing is wrong with these, but they should be known. */
  notes: readonly Problem[]
  /** The names of devices that are waited for and have been quiet for too long. */
  quiet: ReadonlySet<string>
  /** The first of the open findings, oldest first. */
  openFindings: readonly Finding[]
}
