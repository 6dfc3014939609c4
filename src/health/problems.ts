/*
 * health/: What is wrong: facts are gathered, and problems follow from them, in words that say what to do.
 */

import { DATABASE_RESERVE, DEVICES_KNOWN_TOLD, DEVICES_NAMED, DEVICES_TOLD } from '../base/budgets.ts'
import { DAY_MS, HOUR_MS } from '../base/clock.ts'
import { quoted, shown } from '../base/shown.ts'
import { LONGEST_WAIT_MS, type Problem } from '../catalogue/alerts.ts'
import type { Device } from '../catalogue/devices.ts'
import type { FindingCount, HealedCount } from '../catalogue/findings.ts'
import type { TooMuchPower } from '../catalogue/superuser.ts'
import type { CopyPlace, FindingKind, Severity } from '../catalogue/tables.ts'
import { type AppError, inFull } from '../errors.ts'
import type { MirrorStatus } from '../mirror/status.ts'
import { StrangeEntry } from '../storage/entry.ts'
import type { DiskUsage } from '../storage/space.ts'
import type { Facts, HealthRules } from './model.ts'

/** Above this share of its space a drive is nearly full. */
const FULL = 0.9
/** A second copy that is behind is nothing to worry about before a photo has waited this long. */
const LAG_MS = HOUR_MS

/** Says what is wrong, the worst first. Pure: the same facts give the same answer. */
export function problemsOf(facts: Facts, rules: HealthRules): Problem[] {
  const problems = [
    ...driveProblems(facts, rules),
    ...journalProblems(facts),
    ...dataDirProblems(facts, rules),
    ...facts.findings.map(findingProblem),
    ...mirrorProblems(facts),
    ...verificationProblems(facts),
    ...quietProblems(facts, rules),
  ]
  const rank: Record<Severity, number> = { error: 0, warning: 1 }
  return problems.toSorted((a, b) => rank[a.severity] - rank[b.severity])
}

/** Which problems can't be judged by these facts: an alert of theirs stays as it is. */
export function isUndecided({ drive, mirrors, raised, at }: Facts): (key: string) => boolean {
  const undecided = new Set<string>()
  // Of devices that come and go, each end and each beginning would be a message.
  const toldAt = raised.get(FURTHER)?.getTime()
  if (toldAt !== undefined && Math.abs(at.getTime() - toldAt) < LONGEST_WAIT_MS) undecided.add(FURTHER)
  if (!drive.isPresent) for (const key of ['drive_full', 'drive_unwritable', JOURNAL]) undecided.add(key)
  for (const [index, mirror] of (mirrors ?? []).entries()) {
    if (mirror.state !== 'missing') continue
    for (const what of ['full', 'error', 'behind']) undecided.add(mirrorKey(what, mirror, index))
  }
  return (key) => undecided.has(key) || (mirrors === undefined && key.startsWith('mirror_'))
}

function driveProblems(facts: Facts, rules: HealthRules): Problem[] {
  const { drive, at } = facts
  if (!drive.isPresent) {
    const { code } = drive.reason
    const message = inFull(drive.reason)
    const title = code === 'drive_missing' ? 'The drive is missing' : 'The library can’t be used'
    const key = code === 'rebuild_needed' ? code : 'drive_missing'
    return [{ key, severity: 'error', title, message, since: at }]
  }
  return [...refusalProblem(drive.refusal, at), ...spaceProblem(drive.usage, at, rules)]
}

function refusalProblem(refusal: AppError | undefined, at: Date): Problem[] {
  if (refusal === undefined) return []
  const isStrange = refusal instanceof StrangeEntry
  const title = isStrange ? 'Something on the drive is in the way' : 'The drive can’t be written to'
  return [{ key: 'drive_unwritable', severity: 'error', title, message: inFull(refusal), since: at }]
}

const JOURNAL = 'journal_unwritten'

/** The drive takes photos, and nothing else is wrong with it that would be the reason. */
function journalProblems({ journal, drive }: Facts): Problem[] {
  if (journal === undefined || !drive.isPresent || drive.refusal !== undefined) return []
  const { reason, since } = journal
  const why = reason === undefined ? 'The server’s log says why.' : inFull(reason)
  const title = 'The journal on the drive can’t be written'
  const message = `${why} Photos are stored as ever. But should the database be lost, nobody would know any more whose photos of this time are, and phones would send them once more.`
  return [{ key: JOURNAL, severity: 'warning', title, message, since }]
}

function spaceProblem(usage: DiskUsage, at: Date, { minFreeSpace }: HealthRules): Problem[] {
  const { used, free } = usage
  if (free <= minFreeSpace) {
    const message = `${inGigabytes(free)} are free, and MIN_FREE_SPACE keeps ${inGigabytes(minFreeSpace)} free: no more photos fit. Make room on the drive, or move the library to a larger one.`
    return [{ key: 'drive_full', severity: 'error', title: 'The drive is full', message, since: at }]
  }
  const share = fullness(usage)
  if (share <= FULL) return []
  const title = `The drive is ${Math.floor(share * 100)} % full`
  const message = `${inGigabytes(free)} are free of ${inGigabytes(used + free)}. Make room on it, or get a larger one in time.`
  return [{ key: 'drive_full', severity: 'warning', title, message, since: at }]
}

function dataDirProblems({ dataDir, drive, at }: Facts, rules: HealthRules): Problem[] {
  if (dataDir === undefined) return []
  const { used, free } = dataDir
  const key = 'data_dir_full'
  if (free <= DATABASE_RESERVE) {
    const title = 'The disk of the database is full'
    const message = `${inGigabytes(free)} are free where DATA_DIR lies, and ${inGigabytes(DATABASE_RESERVE)} are kept for the database: no more photos are taken. Make room on it; they go on by themselves.`
    return [{ key, severity: 'error', title, message, since: at }]
  }
  if (drive.isPresent && isOneDisk(drive.usage, dataDir) && spaceProblem(drive.usage, at, rules).length > 0) return []
  const share = fullness(dataDir)
  // Of a small disk a tenth is less than what is kept.
  if (share <= FULL && free > 2 * DATABASE_RESERVE) return []
  const title = `The disk of the database is ${Math.floor(share * 100)} % full`
  const message = `${inGigabytes(free)} are free of ${inGigabytes(used + free)} where DATA_DIR lies. Make room on it: when it is full, no more photos are taken.`
  return [{ key, severity: 'warning', title, message, since: at }]
}

/** As far as sizes tell: a household without a drive has both on the system's disk, and need not be told twice. */
function isOneDisk(a: DiskUsage, b: DiskUsage): boolean {
  return a.total === b.total && Math.abs(a.free - b.free) < DATABASE_RESERVE
}

/** The share of a drive's space that is taken, 0 to 1, as `df` counts: what only root may still use is nobody's. */
export function fullness({ used, free }: { used: number; free: number }): number {
  return used + free === 0 ? 0 : used / (used + free)
}

const FINDINGS: Record<FindingKind, { severity: Severity; what: [string, string]; advice: string }> = {
  missing: {
    severity: 'error',
    what: ['photo is missing from', 'photos are missing from'],
    advice: 'Open the app on the phones: it is asked to send them again.',
  },
  corrupt: {
    severity: 'error',
    what: ['photo was damaged on', 'photos were damaged on'],
    advice:
      'What is left of them was moved to .iclood/quarantine. Open the app on the phones: it is asked to send them again. Check the health of the drive.',
  },
  unreadable: {
    severity: 'error',
    what: ['photo can’t be read from', 'photos can’t be read from'],
    advice:
      'Check the cable and the health of the drive; it may be about to fail. If something else is in their place, move that away.',
  },
  unknown: {
    severity: 'warning',
    what: ['file is not known to the library and lies on', 'files are not known to the library and lie on'],
    advice: 'Move away what is no photo. To have the others taken up, run: npm run iclood -- rebuild',
  },
  sums: {
    severity: 'warning',
    what: ['SHA256SUMS disagrees with the library on', 'SHA256SUMS disagree with the library on'],
    advice: 'They are written anew by the server; nothing is wrong with the photos.',
  },
}

const PLACES: Record<CopyPlace, string> = { library: 'the drive', mirror: 'the drive with the second copy' }

/** The key of the problem that findings of a kind are. */
export function findingKey({ copy, kind }: Pick<FindingCount, 'copy' | 'kind'>): string {
  return copy === 'library' ? `findings:${kind}` : `findings:mirror:${kind}`
}

/** Lost for good, or known and meant to be so. */
const ACCEPT = 'If it is meant to be so: npm run iclood -- accept'

function findingProblem(finding: FindingCount): Problem {
  const { copy, kind, count, since, found } = finding
  const { severity, what, advice } = FINDINGS[kind]
  const title = `${count} ${what[count === 1 ? 0 : 1]} ${PLACES[copy]}`
  const message =
    copy === 'library' ? `${advice} ${ACCEPT}` : 'It is copied again by itself. Check the health of that drive.'
  return {
    key: findingKey(finding),
    severity: copy === 'library' ? severity : 'warning',
    title,
    message: `${title}. ${message}`,
    since,
    found,
  }
}

/** What is well again, and may be the first sign of what is to come. */
export function notesOf({ healed, superuser, at }: Pick<Facts, 'healed' | 'superuser' | 'at'>): Problem[] {
  const notes = (['library', 'mirror'] as const).flatMap((copy) => healedNote(copy, healed))
  return superuser === undefined ? notes : [...notes, superuserNote(superuser, at)]
}

/** It works as well as before: only a hole in the program would be worse than it need be. */
function superuserNote({ role, statements, afterwards }: TooMuchPower, at: Date): Problem {
  const title = 'The database’s role is a superuser'
  const message = `The role ${role} of DATABASE_URL may run programs and read files on the computer of the database, which iClood never needs. Two lines in psql, on its database, end that: ${statements.join(' ')} ${afterwards}`
  return { key: 'database_superuser', severity: 'warning', title, message: message.trim(), since: at, isNote: true }
}

function healedNote(place: CopyPlace, healed: readonly HealedCount[]): Problem[] {
  const late = healed.filter(({ copy, lately }) => copy === place && lately > 0)
  const count = late.reduce((sum, { lately }) => sum + lately, 0)
  const last = Math.max(...late.map(({ last }) => last?.getTime() ?? 0))
  if (count === 0) return []
  const title = `${count} damaged or missing ${count === 1 ? 'photo' : 'photos'} on ${PLACES[place]} ${count === 1 ? 'was' : 'were'} put back`
  const kinds = late.map(({ kind, lately }) => `${lately} ${kind}`).join(', ')
  const message = `${title} from where the content was still intact (${kinds}): nothing is lost. It can be the first sign of a drive that is about to fail: check its cable and its health.`
  const found = healed.reduce((sum, { copy, untold }) => sum + (copy === place ? untold : 0), 0)
  const key = place === 'library' ? 'healed' : 'healed:mirror'
  return [{ key, severity: 'warning', title, message, since: new Date(last), found, isNote: true }]
}

const MIRROR_TITLES = {
  missing: (name: string) => `The second copy${name} is missing`,
  full: (name: string) => `The drive with the second copy${name} is full`,
  error: (name: string) => `The second copy${name} can’t be kept up to date`,
} as const

/** What is wrong with a mirror; of several each further one has problems of its own, by its folder. */
function mirrorKey(what: string, { folder }: MirrorStatus, index: number): string {
  return index === 0 ? `mirror_${what}` : `mirror_${what}:${folder}`
}

function mirrorProblems({ mirrors = [], at }: Facts): Problem[] {
  return mirrors.flatMap((mirror, index) => {
    const name = mirrors.length > 1 ? ` in ${mirror.folder}` : ''
    return mirrorProblem(mirror, name, at).map((problem) => ({
      ...problem,
      key: mirrorKey(mirror.state, mirror, index),
    }))
  })
}

/** `name` goes on after "second copy". */
function mirrorProblem(mirror: MirrorStatus, name: string, at: Date): Omit<Problem, 'key'>[] {
  const severity = 'warning'
  const { files, oldest } = mirror.backlog
  if (mirror.state === 'ok') return []
  if (mirror.state !== 'behind') {
    const title = MIRROR_TITLES[mirror.state](name)
    return [{ severity, title, message: mirror.reason ?? title, since: at }]
  }
  if (oldest === null || at.getTime() - oldest.getTime() <= LAG_MS) return []
  const title = `The second copy${name} lacks ${files} ${files === 1 ? 'photo' : 'photos'}`
  const message = `It catches up by itself; if this does not get less, the server’s log says why.`
  return [{ severity, title, message, since: oldest }]
}

function verificationProblems({ overdueSince }: Facts): Problem[] {
  if (overdueSince === null) return []
  const title = 'The photos on the drive have not been checked in time'
  const message = 'Let the server run, also at night; or check them at once: npm run iclood -- verify'
  return [{ key: 'verification_overdue', severity: 'warning', title, message, since: overdueSince }]
}

/** The key of the problem that all further devices are. */
const FURTHER = 'quiet'
const OWN = /^quiet:(.*)$/s

/** The name of the device whose silence is the problem with that key; undefined for other problems. */
export function deviceOfKey(key: string): string | undefined {
  return OWN.exec(key)?.[1]
}

function keyOf({ deviceId }: Device): string {
  return `quiet:${deviceId}`
}

/**
 * The devices that are waited for and have been quiet for too long, those known for the longest time first. Each of
 * `own` is a problem of its own: the first of all that are waited for, quiet or not, so that none becomes one because
 * another one is heard of; and whichever has been told of, until it is heard of itself. `further` are one together.
 */
export function quietDevices(
  { devices, raised, at }: Pick<Facts, 'devices' | 'raised' | 'at'>,
  { quietDays }: Pick<HealthRules, 'quietDays'>,
): { own: Device[]; further: Device[] } {
  const own: Device[] = []
  const further: Device[] = []
  const waitedFor = devices.filter((device) => !isForgotten(device) && isExpected(device))
  for (const [rank, device] of waitedFor.entries()) {
    if (at.getTime() - heardOf(device).getTime() <= quietDays * DAY_MS) continue
    const isFirst = rank < (hasHistory(device) ? DEVICES_KNOWN_TOLD : DEVICES_TOLD)
    if (isFirst || raised.has(keyOf(device))) own.push(device)
    else further.push(device)
  }
  return { own, further }
}

function quietProblems(facts: Facts, rules: HealthRules): Problem[] {
  const { own, further } = quietDevices(facts, rules)
  return [...own.map((device) => quietProblem(device, facts.at, rules)), ...furtherProblem(further)]
}

function furtherProblem(devices: readonly Device[]): Problem[] {
  if (devices.length === 0) return []
  const count = devices.length
  const title = `${count} further ${count === 1 ? 'device has' : 'devices have'} not backed up`
  const named = devices.slice(0, DEVICES_NAMED).map(({ deviceId }) => deviceName(deviceId))
  const left = count - named.length
  const names = left > 0 ? `${named.join(', ')} and ${left} more` : named.join(', ')
  const message = `The house has known others for longer: ${names}. If they are phones of yours, open the iClood app on them at home. If not: npm run iclood -- forget --further`
  const since = new Date(Math.min(...devices.map((device) => heardOf(device).getTime())))
  return [{ key: FURTHER, severity: 'warning', title, message, since, found: count }]
}

/** When a device has last given a sign of life. */
function heardOf({ lastBackup, lastSeen, firstSeen }: Device): Date {
  return lastBackup !== null && lastSeen !== null && lastSeen > lastBackup ? lastSeen : (lastBackup ?? firstSeen)
}

function quietProblem(device: Device, at: Date, { timeZone }: HealthRules): Problem {
  const { deviceId, lastBackup, failed, pending } = device
  const since = heardOf(device)
  const days = (at.getTime() - since.getTime()) / DAY_MS
  const name = deviceName(deviceId)
  const dayOf = (date: Date) => date.toLocaleDateString('sv-SE', { timeZone })
  const advice = `Open the iClood app on it at home and let it finish. If it is not used any more: npm run iclood -- forget`
  const problem = { key: keyOf(device), severity: 'warning', since } as const
  if (lastBackup === null) {
    const message = `It has asked to since ${dayOf(since)}, and none of its ${failed + pending} photos has arrived. ${advice}`
    return { ...problem, title: `${name} has never backed up anything`, message }
  }
  const message = `Its last photo arrived on ${dayOf(lastBackup)}. ${advice}`
  const what = since > lastBackup ? 'looked in' : 'backed up'
  return { ...problem, title: `${name} has not ${what} for ${inDays(days)}`, message }
}

/** A phone that comes by itself. Who has sent something once, or in one go, such as a script, owes nothing. */
function isExpected(device: Device): boolean {
  return device.hasAnnounced || device.pending > 0 || hasHistory(device)
}

/** Whether it has sent something for longer than a day. */
function hasHistory({ firstBackup, lastBackup }: Device): boolean {
  return firstBackup !== null && lastBackup !== null && lastBackup.getTime() - firstBackup.getTime() > DAY_MS
}

/** Whether a person has said that it may be quiet, and it has been since. */
export function isForgotten({ forgottenAt, lastBackup }: Device): boolean {
  return forgottenAt !== null && (lastBackup === null || lastBackup <= forgottenAt)
}

/** How a sentence calls a device. */
export function deviceName(deviceId: string): string {
  const name = shown(deviceId)
  return name === '' || name === 'unknown' ? 'A phone without a name' : quoted(name)
}

function inDays(days: number): string {
  const whole = Math.floor(days)
  return whole === 1 ? '1 day' : `${whole < 1 ? 'less than 1' : whole} ${whole < 1 ? 'day' : 'days'}`
}

function inGigabytes(bytes: number): string {
  return bytes >= 1024 ** 3 ? `${(bytes / 1024 ** 3).toFixed(1)} GB` : `${Math.round(bytes / 1024 ** 2)} MB`
}

/**
 * At most `limit` of the devices, those that backed up last first: those that are told of, and the longest known ones.
 */
export function devicesOf({ devices, raised }: Pick<Facts, 'devices' | 'raised'>, limit: number): Device[] {
  const time = ({ lastBackup }: Device) => lastBackup?.getTime() ?? Number.NEGATIVE_INFINITY
  const told = devices.filter((device) => raised.has(keyOf(device))).slice(0, limit)
  const others = devices.filter((device) => !told.includes(device)).slice(0, limit - told.length)
  return [...told, ...others].toSorted((a, b) => time(b) - time(a) || b.firstSeen.getTime() - a.firstSeen.getTime())
}
