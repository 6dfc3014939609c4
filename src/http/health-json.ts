import Type, { type Static } from 'typebox'
import { inFull } from '../errors.ts'
import type { Health } from '../ingest/health/model.ts'
import { fullness } from '../ingest/health/problems.ts'
import { Nullable, Timestamp } from './schemas.ts'

const Count = Type.Integer()
const Bytes = Type.Integer({ description: 'bytes' })
const State = (description: string) => Type.Object({ files: Count, bytes: Bytes }, { description })

/** How the household's backup is, as `/library/health` and `iclood status --json` show it. */
export const HealthReport = Type.Object({
  healthy: Type.Boolean({ description: 'whether there are no problems' }),
  checked_at: Timestamp,
  problems: Type.Array(
    Type.Object({
      key: Type.String({ description: 'the same for as long as it is the same problem' }),
      severity: Type.String({ description: 'error or warning' }),
      title: Type.String(),
      message: Type.String({ description: 'what it is about, and what to do' }),
      since: Timestamp,
    }),
    { description: 'the worst first' },
  ),
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
    list: Type.Array(
      Type.Object({
        copy: Type.String({ description: 'library or mirror' }),
        kind: Type.String(),
        path: Type.String(),
        expected: Nullable(Type.String({ description: 'checksum' })),
        found: Nullable(Type.String({ description: 'checksum' })),
        quarantined: Nullable(Type.String({ description: 'where the damaged file lies now' })),
        found_at: Timestamp,
      }),
      { description: 'the first of those that are open' },
    ),
  }),
  drive: Type.Object({
    present: Type.Boolean(),
    reason: Nullable(Type.String({ description: 'why it is not there, or can’t be written to' })),
    total_bytes: Nullable(Bytes),
    free_bytes: Nullable(Bytes),
    used_percent: Nullable(Type.Number({ description: 'as df counts it' })),
  }),
  mirror: Nullable(
    Type.Object({
      state: Type.String({ description: 'ok, behind, missing, full or error' }),
      reason: Nullable(Type.String()),
      lag_files: Count,
      lag_bytes: Bytes,
      lag_since: Nullable(Timestamp),
      on_same_drive: Type.Boolean({ description: 'whether it lies on the same drive as the library' }),
    }),
  ),
  devices: Type.Array(
    Type.Object({
      device_id: Type.String(),
      last_backup: Nullable(Timestamp),
      completed: Count,
      failed: Count,
      pending: Count,
      quiet: Type.Boolean({ description: 'has not backed up for QUIET_DAYS' }),
    }),
    { description: 'those that backed up last first' },
  ),
  last_backup: Nullable(Timestamp),
  photo_count: Count,
  video_count: Count,
})
export type HealthReport = Static<typeof HealthReport>

const iso = (date: Date | null) => date?.toISOString() ?? null

/** Writes it with times in ISO 8601. */
export function healthReport(health: Health): HealthReport {
  const { proof, drive, mirror, problems, findings, devices, backups } = health
  const { intact, unverified, unread, lost } = proof
  const states = [intact, unverified, unread, lost]
  const total = {
    files: states.reduce((sum, { files }) => sum + files, 0),
    bytes: states.reduce((sum, { bytes }) => sum + bytes, 0),
  }
  const byKind: Record<string, number> = {}
  for (const { kind, count } of findings) byKind[kind] = (byKind[kind] ?? 0) + count
  const usage = drive.isPresent ? drive.usage : undefined
  const reason = drive.isPresent ? drive.refusal : drive.reason
  const quiet = new Set(problems.map(({ key }) => key))
  return {
    healthy: problems.length === 0,
    checked_at: health.at.toISOString(),
    problems: problems.map((problem) => ({ ...problem, since: problem.since.toISOString() })),
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
      list: health.openFindings.map(({ copy, kind, path, expected, found, quarantined, found_at }) => {
        return { copy, kind, path, expected, found, quarantined, found_at: found_at.toISOString() }
      }),
    },
    drive: {
      present: drive.isPresent,
      reason: reason === undefined ? null : inFull(reason),
      total_bytes: usage?.total ?? null,
      free_bytes: usage?.free ?? null,
      used_percent: usage === undefined ? null : Math.round(fullness(usage) * 10_000) / 100,
    },
    mirror:
      mirror === undefined || mirror.state === 'none'
        ? null
        : {
            state: mirror.state,
            reason: mirror.reason,
            lag_files: mirror.backlog.files,
            lag_bytes: mirror.backlog.bytes,
            lag_since: iso(mirror.backlog.oldest),
            on_same_drive: mirror.isOnOneDevice,
          },
    devices: devices.map(({ deviceId, lastBackup, completed, failed, pending }) => {
      return {
        device_id: deviceId,
        last_backup: iso(lastBackup),
        completed,
        failed,
        pending,
        quiet: quiet.has(`quiet:${deviceId}`),
      }
    }),
    last_backup: iso(backups.last),
    photo_count: backups.photos,
    video_count: backups.videos,
  }
}
