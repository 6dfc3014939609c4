import { driveUsage, type Library } from '../archive/library.ts'
import { DEVICES_WATCHED } from '../base/budgets.ts'
import { believed, DAY_MS } from '../base/clock.ts'
import { type Alert, listRaised, type Problem } from '../catalogue/alerts.ts'
import { sumBackups } from '../catalogue/backups.ts'
import type { Database } from '../catalogue/connection.ts'
import { listDevices } from '../catalogue/devices.ts'
import { countHealed, countOpenFindings, listOpenFindings } from '../catalogue/findings.ts'
import { findLibrarySince } from '../catalogue/library.ts'
import { LIBRARY } from '../catalogue/places.ts'
import { findSuperuser } from '../catalogue/superuser.ts'
import { countByState, findOldestProof, nextDue, type Proof } from '../catalogue/verification.ts'
import { AppError, hasCode } from '../errors.ts'
import type { LastingFailure } from '../journal/retries.ts'
import type { MirrorStatus } from '../mirror/status.ts'
import type { DataDirUsage } from '../postgres/space.ts'
import type { DriveState, Facts, Health, HealthRules } from './model.ts'
import { deviceOfKey, notesOf, problemsOf, quietDevices } from './problems.ts'

/** What an assessment looks at. */
export interface Subject {
  readonly db: Database
  /** Throws the reason why while it can't be had. */
  readonly library: () => Library
  /** `undefined` if it is not known yet how they are. */
  readonly mirrors: (library: Library) => Promise<readonly MirrorStatus[] | undefined>
  /** What keeps the journal from being written, as far as it is known. */
  readonly journal: () => LastingFailure | undefined
  /** `undefined` if the database is not an embedded one. */
  readonly dataDir: () => Promise<DataDirUsage | undefined>
  readonly rules: HealthRules
  readonly now: () => Date
}

const MAX_FINDINGS = 100
/** What was healed this long ago is no news any more. */
const HEALED_MS = 30 * DAY_MS

/**
 * Finds out how the household's backup is. Asks the drive only what the system answers from memory: whether it is there
 * and how full it is; one that sleeps is not woken. Costs the same for a small library and a large one. Throws
 * `database_unavailable`.
 */
export async function assess(subject: Subject): Promise<Health> {
  const { db, rules } = subject
  const at = subject.now()
  const alerts = await listRaised(db)
  const told = alerts.flatMap(({ key }) => deviceOfKey(key) ?? [])
  const [{ drive, mirrors }, proof, due, devices, findings, healed, backups, superuser, dataDir] = await Promise.all([
    lookAtDrives(subject),
    countByState(db, at),
    nextDue(db, rules.verifyEvery, at),
    listDevices(db, DEVICES_WATCHED, at, told),
    countOpenFindings(db),
    countHealed(db, new Date(at.getTime() - HEALED_MS)),
    sumBackups(db, at),
    findSuperuser(db),
    subject.dataDir(),
  ])
  const overdueSince = await findOverdue(db, proof, rules.verifyEvery, at)
  const facts: Facts = {
    at,
    backups,
    proof,
    nextDue: due,
    overdueSince,
    drive,
    mirrors,
    journal: subject.journal(),
    devices,
    findings,
    healed,
    superuser,
    raised: new Map(alerts.map(({ key, raisedAt }) => [key, raisedAt])),
    dataDir,
  }
  const openFindings = findings.length === 0 ? [] : await listOpenFindings(db, MAX_FINDINGS)
  const problems = withTheirTime(alerts, problemsOf(facts, rules))
  const { own, further } = quietDevices(facts, rules)
  const quiet = new Set([...own, ...further].map(({ deviceId }) => deviceId))
  return { ...facts, openFindings, problems, notes: notesOf(facts), quiet }
}

async function lookAtDrives({
  library,
  mirrors,
}: Subject): Promise<{ drive: DriveState; mirrors: readonly MirrorStatus[] | undefined }> {
  let opened: Library
  try {
    opened = library()
  } catch (error) {
    if (!(error instanceof AppError) || error.code === 'database_unavailable') throw error
    return { drive: { isPresent: false, reason: error }, mirrors: undefined }
  }
  const [drive, status] = await Promise.all([lookAtDrive(opened), mirrors(opened)])
  return { drive, mirrors: status }
}

async function lookAtDrive(library: Library): Promise<DriveState> {
  try {
    const usage = await driveUsage(library)
    return { isPresent: true, usage, refusal: await refusalOf(library) }
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    return { isPresent: false, reason: error }
  }
}

/** Why the drive, which is there, can't be written to. */
async function refusalOf({ drive }: Library): Promise<AppError | undefined> {
  try {
    await drive.checkWritable()
    return undefined
  } catch (error) {
    if (hasCode(error, 'drive_error')) return error
    throw error
  }
}

/**
 * Since when originals have been overdue to be read back; null if none is. A tenth of the interval, at most a day, is
 * no delay: reading waits for the night. What nobody has ever read back is due one interval after this catalogue began:
 * a library that has just been taken over is not late.
 */
async function findOverdue(db: Database, proof: Proof, every: number, at: Date): Promise<Date | null> {
  const oldest = proof.oldest === null ? Number.POSITIVE_INFINITY : proof.oldest.getTime()
  const waiting = proof.unverified.files + proof.unread.files > 0 ? await findOldestProof(db, LIBRARY, at) : undefined
  const since = await findLibrarySince(db)
  // One that began at a time that can't be believed has just begun.
  const began = since === undefined ? Number.NEGATIVE_INFINITY : (believed(since, at) ?? at).getTime()
  const due = Math.min(oldest, Math.max(waiting ?? Number.POSITIVE_INFINITY, began)) + every
  return at.getTime() - due > Math.min(DAY_MS, every / 10) ? new Date(due) : null
}

/** Problems that don't tell by themselves since when they have been there are as old as the alert about them. */
function withTheirTime(alerts: readonly Alert[], problems: readonly Problem[]): Problem[] {
  const raised = new Map(alerts.map((alert) => [alert.key, alert.since]))
  return problems.map((problem) => {
    const since = raised.get(problem.key)
    return since !== undefined && since < problem.since ? { ...problem, since } : problem
  })
}
