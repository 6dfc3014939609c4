/*
 * http/metrics/: What Prometheus is told.
 */

import { Counter, Gauge, Registry } from 'prom-client'
import { DEVICES_MEASURED } from '../../base/budgets.ts'
import { shown } from '../../base/shown.ts'
import type { Health } from '../../health/model.ts'
import { isForgotten } from '../../health/problems.ts'

type MirrorStatus = NonNullable<Health['mirrors']>[number]

const MAX_LABEL_LENGTH = 64

type Labels = Record<string, string>

/** What is known of the library, as gauges. What is not known has none: no invented numbers. */
export function libraryMetrics(health: Health): Registry {
  const registry = new Registry()
  const gauge = (name: string, help: string, ...values: readonly (readonly [number, Labels?])[]) => {
    const labelNames = Object.keys(values[0]?.[1] ?? {})
    const metric = new Gauge({ name, help, labelNames, registers: [registry] })
    for (const [value, labels = {}] of values) metric.set(labels, value)
  }
  const counter = (name: string, help: string, values: readonly (readonly [number, Labels])[]) => {
    const metric = new Counter({ name, help, labelNames: Object.keys(values[0]?.[1] ?? {}), registers: [registry] })
    for (const [value, labels] of values) metric.inc(labels, value)
  }
  const { proof, drive, mirrors = [], at } = health
  const { oldest, lost: missing, ...present } = proof
  const states = { ...present, missing }

  gauge(
    'iclood_library_files',
    'Originals in the catalogue, by what is known of them.',
    ...Object.entries(states).map(([state, { files }]) => [files, { state }] as const),
  )
  gauge(
    'iclood_library_bytes',
    'Bytes of the originals in the catalogue, by what is known of them.',
    ...Object.entries(states).map(([state, { bytes }]) => [bytes, { state }] as const),
  )
  gauge('iclood_problems', 'What is wrong at the moment.', [health.problems.length])
  gauge('iclood_drive_up', 'Whether the drive with the library is there.', [Number(drive.isPresent)])
  if (drive.isPresent) {
    gauge('iclood_drive_size_bytes', 'Size of the drive.', [drive.usage.total])
    gauge('iclood_drive_free_bytes', 'Free space on the drive.', [drive.usage.free])
  }
  if (health.dataDir !== undefined) {
    gauge('iclood_data_dir_size_bytes', 'Size of the disk with the embedded database.', [health.dataDir.total])
    gauge('iclood_data_dir_free_bytes', 'Free space on the disk with the embedded database.', [health.dataDir.free])
  }
  if (oldest !== null) {
    const age = Math.max(0, at.getTime() - oldest.getTime()) / 1000
    gauge(
      'iclood_verification_oldest_age_seconds',
      'Time since that intact original was read back which was read back longest ago.',
      [age],
    )
  }
  const findings = health.findings.map(({ copy, kind, count }) => [count, { copy, kind }] as const)
  if (findings.length > 0) gauge('iclood_findings', 'What verification has found wrong and is not healed.', ...findings)
  counter(
    'iclood_findings_healed_total',
    'What was missing, damaged or unreadable on a drive and is well again: it may be the first sign of a drive that fails.',
    (['library', 'mirror'] as const).flatMap((copy) =>
      (['missing', 'corrupt', 'unreadable'] as const).map((kind) => {
        const count = health.healed.find((one) => one.copy === copy && one.kind === kind)
        return [count?.healed ?? 0, { copy, kind }] as const
      }),
    ),
  )
  // A household with one has no use for its name.
  const ofEach = (value: (mirror: MirrorStatus) => number) =>
    mirrors.map((mirror) => [value(mirror), mirrors.length > 1 ? { folder: mirror.folder } : {}] as const)
  const waits = ({ backlog: { oldest } }: MirrorStatus) =>
    oldest === null ? 0 : Math.max(0, at.getTime() - oldest.getTime()) / 1000
  if (mirrors.length > 0) {
    gauge(
      'iclood_mirror_up',
      'Whether the drive with the second copy is there.',
      ...ofEach(({ state }) => Number(state !== 'missing')),
    )
    gauge(
      'iclood_mirror_lag_files',
      'Originals that have no second copy yet.',
      ...ofEach(({ backlog }) => backlog.files),
    )
    gauge(
      'iclood_mirror_lag_bytes',
      'Bytes of the originals that have no second copy yet.',
      ...ofEach(({ backlog }) => backlog.bytes),
    )
    gauge(
      'iclood_mirror_lag_seconds',
      'How long the original has waited that waits longest for its second copy.',
      ...ofEach(waits),
    )
  }
  const devices = lastBackups(health)
  if (devices.length > 0) {
    gauge(
      'iclood_device_last_backup_timestamp_seconds',
      `When a device last backed something up; of the ${DEVICES_MEASURED} that have done so for the longest time.`,
      ...devices.map(([device, at]) => [at / 1000, { device }] as const),
    )
  }
  return registry
}

/**
 * The longest known devices first, under names that are fit to be labels: of two that become the same, the later
 * backup.
 */
function lastBackups({ devices }: Health): [string, number][] {
  const last = new Map<string, number>()
  for (const device of devices) {
    const { deviceId, lastBackup } = device
    if (lastBackup === null || isForgotten(device)) continue
    const label = cleanLabel(deviceId)
    last.set(label, Math.max(last.get(label) ?? 0, lastBackup.getTime()))
    if (last.size === DEVICES_MEASURED) break
  }
  return [...last]
}

/** Names of devices are whatever somebody sent. */
export function cleanLabel(text: string): string {
  return (
    [
      ...shown(text)
        .replace(/[\p{C}\p{Z}]+/gu, ' ')
        .trim(),
    ]
      .slice(0, MAX_LABEL_LENGTH)
      .join('') || 'unknown'
  )
}
