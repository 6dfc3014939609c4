import { sql } from 'kysely'
import type { Database } from './connection.ts'
import type { Severity } from './tables.ts'

/** Something that is wrong with the household's backup. */
export interface Problem {
  /** The same for as long as it is the same problem. */
  readonly key: string
  readonly severity: Severity
  /** A few words. */
  readonly title: string
  /** What it is about, and what to do. */
  readonly message: string
  /** Since when it has been so. */
  readonly since: Date
}

/** A problem that was noticed, perhaps over by now. */
export interface Alert extends Problem {
  readonly raisedAt: Date
  readonly clearedAt: Date | null
}

/** What has changed since the alerts were looked at last. */
export interface AlertChanges {
  readonly raised: readonly Problem[]
  readonly cleared: readonly Problem[]
}

const columns = sql`
  key, severity, title, message, since, raised_at as "raisedAt", cleared_at as "clearedAt"`

/** Returns the alerts that are raised, first raised first. */
export async function listRaised(db: Database): Promise<Alert[]> {
  const { rows } = await sql<Alert>`
    select ${columns} from alerts where cleared_at is null order by raised_at, key
  `.execute(db)
  return rows
}

/**
 * Makes the alerts agree with `problems`, which is all that is wrong at present; whether `undecided` keys are could not be found
 * out, and they stay as they are. Writes nothing if nothing has changed. An alert that nobody has been told of is forgotten when it
 * clears.
 */
export async function reconcileAlerts(
  db: Database,
  problems: readonly Problem[],
  undecided: (key: string) => boolean,
  now: Date,
): Promise<AlertChanges> {
  const known = new Map((await listRaised(db)).map((alert) => [alert.key, alert]))
  const raised = problems.filter(({ key }) => !known.has(key))
  const present = new Set(problems.map(({ key }) => key))
  const cleared = [...known.values()].filter(({ key }) => !present.has(key) && !undecided(key))
  if (raised.length > 0) await raise(db, raised, now)
  if (cleared.length > 0) await clear(db, cleared, now)
  return { raised, cleared }
}

async function raise(db: Database, problems: readonly Problem[], now: Date): Promise<void> {
  await sql`
    insert into alerts (key, severity, title, message, since, raised_at)
    select key, severity, title, message, since, ${now.toISOString()}::timestamptz
    from ${problemRows(problems)}
    on conflict (key) do update set
      severity = excluded.severity, title = excluded.title, message = excluded.message, since = excluded.since,
      raised_at = excluded.raised_at, cleared_at = null
  `.execute(db)
}

async function clear(db: Database, problems: readonly Problem[], now: Date): Promise<void> {
  const keys = problems.map(({ key }) => key)
  await sql`
    update alerts set cleared_at = ${now.toISOString()}::timestamptz where key = any(${keys}::text[])
  `.execute(db)
  await forgetCleared(db)
}

/** Forgets cleared alerts that nobody believes in any more. */
async function forgetCleared(db: Database): Promise<void> {
  await sql`
    delete from alerts
    where cleared_at is not null and not exists (select from alert_receipts where alert_receipts.key = alerts.key)
  `.execute(db)
}

/** Returns the alerts whose present state `receiver` has not been told, the oldest change first. */
export async function listUntold(db: Database, receiver: string): Promise<Alert[]> {
  const { rows } = await sql<Alert>`
    select ${columns} from alerts
    where (cleared_at is not null) = exists (
      select from alert_receipts where alert_receipts.key = alerts.key and alert_receipts.receiver = ${receiver}
    )
    order by coalesce(cleared_at, raised_at), key
  `.execute(db)
  return rows
}

/** Remembers that `receiver` was told of the state of `alert`, whatever has become of it since. Idempotent. */
export async function recordTold(db: Database, receiver: string, alert: Alert, now: Date): Promise<void> {
  const at = sql`${now.toISOString()}::timestamptz`
  if (alert.clearedAt !== null) {
    await sql`delete from alert_receipts where key = ${alert.key} and receiver = ${receiver}`.execute(db)
    await forgetCleared(db)
    return
  }
  // Forgotten while it was being told: this one has to hear that it is over.
  await sql`
    with kept as (
      insert into alerts (key, severity, title, message, since, raised_at, cleared_at)
      select key, severity, title, message, since, ${alert.raisedAt.toISOString()}::timestamptz, ${at}
      from ${problemRows([alert])}
      on conflict (key) do nothing
    )
    insert into alert_receipts (key, receiver, told_at) values (${alert.key}, ${receiver}, ${at})
    on conflict (key, receiver) do nothing
  `.execute(db)
}

/** Forgets what receivers other than `receivers` were told: they are not asked for any more. */
export async function keepReceivers(db: Database, receivers: readonly string[]): Promise<void> {
  await sql`delete from alert_receipts where receiver <> all(${receivers}::text[])`.execute(db)
  await forgetCleared(db)
}

function problemRows(problems: readonly Problem[]) {
  return sql`
    unnest(
      ${problems.map(({ key }) => key)}::text[],
      ${problems.map(({ severity }) => severity)}::text[],
      ${problems.map(({ title }) => title)}::text[],
      ${problems.map(({ message }) => message)}::text[],
      ${problems.map(({ since }) => since.toISOString())}::timestamptz[]
    ) as problem (key, severity, title, message, since)`
}
