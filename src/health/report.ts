import Type, { type Static } from 'typebox'
import { DEVICES_SHOWN } from '../base/budgets.ts'
import { Nullable, Timestamp } from '../base/shapes.ts'
import type { Problem } from '../catalogue/alerts.ts'
import type { Finding } from '../catalogue/findings.ts'
import { inFull } from '../errors.ts'
import type { MirrorState, MirrorStatus } from '../mirror/status.ts'
import type { Health } from './model.ts'
import { devicesOf, fullness, isForgotten } from './problems.ts'

const Count = Type.Integer()
const Bytes = Type.Integer({ description: 'bytes' })
const State = (description: string) => Type.Object({ files: Count, bytes: Bytes }, { description })

const ProblemEntry = Type.Object({
  key: Type.String({ description: 'the same for as long as it is the same problem' }),
  severity: Type.String({ description: 'error or warning' }),
  title: Type.String(),
  message: Type.String({ description: 'what it is about, and what to do' }),
  since: Timestamp,
})

/** Something that verification has found wrong, open. */
export const FindingEntry = Type.Object({
  id: Type.Integer({ description: 'its number, by which it can be accepted' }),
  copy: Type.String({ description: 'library or mirror' }),
  kind: Type.String({ description: 'missing, corrupt, unreadable, unknown or sums' }),
  path: Type.String(),
  expected: Nullable(Type.String({ description: 'checksum' })),
  found: Nullable(Type.String({ description: 'checksum; or what lies there, if that is no file' })),
  quarantined: Nullable(Type.String({ description: 'where the damaged file lies now' })),
  found_at: Timestamp,
})

const MirrorHealth = {
  state: Type.String({ description: 'ok, behind, missing, full or error' }),
  reason: Nullable(Type.String()),
  lag_files: Count,
  lag_bytes: Bytes,
  lag_since: Nullable(Timestamp),
  on_same_drive: Type.Boolean({ description: 'whether it lies on the same drive as the library' }),
}

/** How the household's backup is, as `/library/health` and `iclood status --json` show it. */
export const HealthReport = Type.Object({
  healthy: Type.Boolean({ description: 'whether there are no problems' }),
  checked_at: Timestamp,
  problems: Type.Array(ProblemEntry, { description: 'the worst first' }),
  notes: Type.Array(ProblemEntry, { description: 'nothing is wrong with these, but they should be known' }),
  files: Type.Object({
    total: State('all originals'),
    intact: State('read back from the drive and intact'),
    unverified: State('stored, and not read back since'),
    unread: State('of an older server, and not read yet'),
    missing: State('not on the drive any more, or damaged there; phones are asked for them'),
  }),
  verification: Type.Object({
    oldest: Nullable(Timestamp),
    next_due: Nullable(Timestamp),
    overdue_since: Nullable(Timestamp),
  }),
  findings: Type.Object({
    open: Count,
    by_kind: Type.Record(Type.String(), Count, { description: 'missing, corrupt, unreadable, unknown, sums' }),
    quarantined: Type.Integer({ description: 'damaged files that lie in quarantine' }),
    list: Type.Array(FindingEntry, { description: 'the first of those that are open' }),
    healed: Type.Record(Type.String(), Count, {
      description: 'missing, corrupt and unreadable ones that ever were, and are well again',
    }),
  }),
  drive: Type.Object({
    present: Type.Boolean(),
    reason: Nullable(Type.String({ description: 'why it is not there, or can’t be written to' })),
    total_bytes: Nullable(Bytes),
    free_bytes: Nullable(Bytes),
    used_percent: Nullable(Type.Number({ description: 'as df counts it' })),
  }),
  data_dir: Nullable(
    Type.Object(
      { total_bytes: Bytes, free_bytes: Bytes, used_percent: Type.Number({ description: 'as df counts it' }) },
      { description: 'the disk of the embedded database' },
    ),
  ),
  mirror: Nullable(Type.Object(MirrorHealth, { description: 'the second copy; of several the worst one' })),
  mirrors: Type.Array(Type.Object({ folder: Type.String(), ...MirrorHealth }), { description: 'every second copy' }),
  devices: Type.Array(
    Type.Object({
      device_id: Type.String(),
      last_backup: Nullable(Timestamp),
      completed: Count,
      failed: Count,
      pending: Count,
      last_seen: Nullable(Type.String({ format: 'date-time', description: 'when it last sent a list, to the hour' })),
      quiet: Type.Boolean({ description: 'has neither backed up nor looked in for QUIET_DAYS' }),
      forgotten: Type.Boolean({ description: 'a person has said that it may be quiet' }),
    }),
    { description: 'those that backed up last first; of many, those that have done so for the longest time' },
  ),
  last_backup: Nullable(Timestamp),
  photo_count: Count,
  video_count: Count,
})
export type HealthReport = Static<typeof HealthReport>

const iso = (date: Date | null) => date?.toISOString() ?? null

const FROM_WORST: readonly MirrorState[] = ['missing', 'error', 'full', 'behind', 'ok']

function mirrorHealth({ state, reason, backlog, isOnOneDevice }: MirrorStatus) {
  return {
    state,
    reason,
    lag_files: backlog.files,
    lag_bytes: backlog.bytes,
    lag_since: iso(backlog.oldest),
    on_same_drive: isOnOneDevice,
  }
}

/** Writes it with times in ISO 8601. */
export function healthReport(health: Health): HealthReport {
  const { proof, drive, mirrors = [], problems, notes, findings, healed, backups, quiet, dataDir } = health
  const [worst] = mirrors.toSorted((a, b) => FROM_WORST.indexOf(a.state) - FROM_WORST.indexOf(b.state))
  const { intact, unverified, unread, lost } = proof
  const states = [intact, unverified, unread, lost]
  const total = {
    files: states.reduce((sum, { files }) => sum + files, 0),
    bytes: states.reduce((sum, { bytes }) => sum + bytes, 0),
  }
  const byKind: Record<string, number> = {}
  for (const { kind, count } of findings) byKind[kind] = (byKind[kind] ?? 0) + count
  const healedByKind: Record<string, number> = {}
  for (const { kind, healed: count } of healed) healedByKind[kind] = (healedByKind[kind] ?? 0) + count
  const usage = drive.isPresent ? drive.usage : undefined
  const reason = drive.isPresent ? drive.refusal : drive.reason
  return {
    healthy: problems.length === 0,
    checked_at: health.at.toISOString(),
    problems: problems.map(problemEntry),
    notes: notes.map(problemEntry),
    files: { total, intact, unverified, unread, missing: lost },
    verification: {
      oldest: iso(proof.oldest),
      next_due: iso(health.nextDue),
      overdue_since: iso(health.overdueSince),
    },
    findings: {
      open: findings.reduce((sum, { count }) => sum + count, 0),
      by_kind: byKind,
      quarantined: findings.reduce((sum, { quarantined }) => sum + quarantined, 0),
      list: health.openFindings.map(findingEntry),
      healed: healedByKind,
    },
    drive: {
      present: drive.isPresent,
      reason: reason === undefined ? null : inFull(reason),
      total_bytes: usage?.total ?? null,
      free_bytes: usage?.free ?? null,
      used_percent: usage === undefined ? null : percentOf(usage),
    },
    data_dir:
      dataDir === undefined
        ? null
        : { total_bytes: dataDir.total, free_bytes: dataDir.free, used_percent: percentOf(dataDir) },
    mirror: worst === undefined ? null : mirrorHealth(worst),
    mirrors: mirrors.map((mirror) => ({ folder: mirror.folder, ...mirrorHealth(mirror) })),
    devices: devicesOf(health, DEVICES_SHOWN).map((device) => {
      const { deviceId, lastBackup, lastSeen, completed, failed, pending } = device
      return {
        device_id: deviceId,
        last_backup: iso(lastBackup),
        completed,
        failed,
        pending,
        last_seen: iso(lastSeen),
        quiet: quiet.has(deviceId),
        forgotten: isForgotten(device),
      }
    }),
    last_backup: iso(backups.last),
    photo_count: backups.photos,
    video_count: backups.videos,
  }
}

/** What `iclood status` shows: the report, and what it does not tell those who ask over the network. */
export interface StatusFacts {
  report: HealthReport
  /** As df counts it, in bytes; null if it is not there. */
  drive: Fill | null
  /** Whether it is away, and not only refused. */
  isDriveMissing: boolean
  dataDir: Fill | null
  /** Whether it is known how the second copy is, or that there is none. */
  isMirrorKnown: boolean
  /** Of those that are waited for, the first, and how many there are besides. */
  devices: Pick<HealthReport['devices'][number], 'device_id' | 'last_backup'>[]
  furtherDevices: number
}

/** Phones listed; in a household there are fewer. */
const DEVICES_LISTED = 20

interface Fill {
  free: number
  used: number
}

export function statusFacts(health: Health): StatusFacts {
  const { drive, dataDir, mirrors, raised } = health
  const devices = health.devices.filter((device) => !isForgotten(device))
  const listed = devicesOf({ devices, raised }, DEVICES_LISTED)
  return {
    report: healthReport(health),
    drive: drive.isPresent ? drive.usage : null,
    isDriveMissing: !drive.isPresent && drive.reason.code === 'drive_missing',
    dataDir: dataDir ?? null,
    isMirrorKnown: mirrors !== undefined,
    devices: listed.map(({ deviceId, lastBackup }) => ({ device_id: deviceId, last_backup: iso(lastBackup) })),
    furtherDevices: devices.length - listed.length,
  }
}

/** The same as far as a report alone tells it. */
export function factsIn(report: HealthReport): StatusFacts {
  const { drive, data_dir: dataDir, problems } = report
  const devices = report.devices.filter(({ forgotten }) => !forgotten)
  const fill = (usage: { free_bytes: number | null; total_bytes: number | null }) => {
    const { free_bytes: free, total_bytes: total } = usage
    return free === null || total === null ? null : { free, used: total - free }
  }
  return {
    report,
    drive: fill(drive),
    isDriveMissing: !problems.some(({ key }) => key === 'rebuild_needed'),
    dataDir: dataDir === null ? null : fill(dataDir),
    isMirrorKnown: report.mirror !== null || drive.present,
    devices: devices.slice(0, DEVICES_LISTED),
    furtherDevices: Math.max(devices.length - DEVICES_LISTED, 0),
  }
}

/** With two digits. */
function percentOf(usage: { used: number; free: number }): number {
  return Math.round(fullness(usage) * 10_000) / 100
}

function problemEntry({ key, severity, title, message, since }: Problem): Static<typeof ProblemEntry> {
  return { key, severity, title, message, since: since.toISOString() }
}

export function findingEntry(finding: Finding): Static<typeof FindingEntry> {
  const { id, copy, kind, path, expected, found, quarantined, found_at } = finding
  return { id, copy, kind, path, expected, found, quarantined, found_at: found_at.toISOString() }
}
