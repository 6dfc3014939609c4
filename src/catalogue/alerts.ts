import { sql } from 'kysely'
import type { Database } from './connection.ts'
import type { Severity } from './tables.ts'

/** Something that is wrong with the household's backup; or, as a note, that was and should be known. */
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
  /** Of what comes one by one: how many there have ever been. Then more of it is told again. */
  readonly found?: number
  /** Nothing is wrong now: its end is no news. */
  readonly isNote?: boolean
}

/** A problem that was noticed, perhaps over by now. */
export interface Alert extends Omit<Problem, 'found'> {
  /** When it was noticed, or had become more when it was last told. */
  readonly raisedAt: Date
  readonly clearedAt: Date | null
  readonly isNote: boolean
  /** Grows whenever it has to be told again. */
  readonly edition: number
}

/** What has changed since the alerts were looked at last. */
export interface AlertChanges {
  readonly raised: readonly Problem[]
  /** Those that have become more, or worse, and are told again. */
  readonly grown: readonly Problem[]
  readonly cleared: readonly Alert[]
  /** When the first of those that have grown since they were last told may be told again; null if none has. */
  readonly nextAt: Date | null
}

type Raised = Alert & { readonly found: number | null; readonly beganAt: Date }

const columns = sql`
  key, severity, title, message, since, raised_at as "raisedAt", cleared_at as "clearedAt", is_note as "isNote", edition`

/** Returns the alerts that are raised, first raised first. */
export async function listRaised(db: Database): Promise<Alert[]> {
  const { rows } = await sql<Alert>`
    select ${columns} from alerts where cleared_at is null order by raised_at, key
  `.execute(db)
  return rows
}

/**
 * Makes the alerts agree with `problems`, which is all that is wrong at present; whether `undecided` keys are could not
 * be found out, and they stay as they are. Writes nothing if nothing has changed. An alert that nobody has been told of
 * is forgotten when it clears.
 *
 * The first of many is told at once. What comes after it is gathered for half a minute, then for as long as it has been
 * coming, up to six hours: so ten thousand losses in a day are some twenty messages, and none is left out. What becomes
 * an error is told at once.
 */
export async function reconcileAlerts(
  db: Database,
  problems: readonly Problem[],
  undecided: (key: string) => boolean,
  now: Date,
): Promise<AlertChanges> {
  const { rows } = await sql<Raised>`
    select ${columns}, found, began_at as "beganAt" from alerts where cleared_at is null order by raised_at, key
  `.execute(db)
  const known = new Map(rows.map((alert) => [alert.key, alert]))
  const raised = problems.filter(({ key }) => !known.has(key))
  const present = new Set(problems.map(({ key }) => key))
  const cleared: Alert[] = rows.filter(({ key }) => !present.has(key) && !undecided(key))
  const grown: Problem[] = []
  const fewer: Problem[] = []
  let nextAt: Date | null = null
  for (const problem of problems) {
    const alert = known.get(problem.key)
    if (alert === undefined) continue
    const news = newsOf(problem, alert)
    const dueAt = isWorse(problem, alert) ? now : tellAgainAt(alert, now)
    if (news <= 0 && !isWorse(problem, alert)) {
      if (news < 0) fewer.push(problem)
    } else if (dueAt <= now) grown.push(withNews(problem, news))
    else if (nextAt === null || dueAt < nextAt) nextAt = dueAt
  }
  if (raised.length > 0) await raise(db, raised, now)
  if (grown.length > 0) await sayAgain(db, grown, now)
  if (fewer.length > 0) await countAnew(db, fewer)
  if (cleared.length > 0) await clear(db, cleared, now)
  return { raised, grown, cleared, nextAt }
}

/** How much of it has been found since it was last told; below 0 if it has to be counted anew. */
function newsOf({ found }: Problem, alert: Raised): number {
  if (found === undefined) return 0
  return alert.found === null ? -1 : found - alert.found
}

function isWorse({ severity }: Problem, alert: Raised): boolean {
  return severity === 'error' && alert.severity === 'warning'
}

const FIRST_WAIT_MS = 30_000
/** What comes one by one is told this often at most. */
export const LONGEST_WAIT_MS = 6 * 60 * 60 * 1000

/** As long again as it took from the first message to the last one. A clock that was set back keeps nobody waiting. */
function tellAgainAt({ beganAt, raisedAt }: Raised, now: Date): Date {
  if (raisedAt > now) return now
  const wait = Math.min(Math.max(raisedAt.getTime() - beganAt.getTime(), FIRST_WAIT_MS), LONGEST_WAIT_MS)
  return new Date(raisedAt.getTime() + wait)
}

function withNews(problem: Problem, news: number): Problem {
  if (news <= 0) return problem
  return {
    ...problem,
    title: `${problem.title} (${news} new)`,
    message: `${problem.message} Found since the last message: ${news}.`,
  }
}

async function raise(db: Database, problems: readonly Problem[], now: Date): Promise<void> {
  const at = sql`${now.toISOString()}::timestamptz`
  await sql`
    insert into alerts (key, severity, title, message, since, found, is_note, began_at, raised_at)
    select key, severity, title, message, since, found, is_note, ${at}, ${at}
    from ${problemRows(problems)}
    on conflict (key) do update set
      severity = excluded.severity, title = excluded.title, message = excluded.message, since = excluded.since,
      began_at = excluded.began_at, raised_at = excluded.raised_at, cleared_at = null, found = excluded.found,
      is_note = excluded.is_note,
      -- Who has not heard that it was over has to hear of what is new.
      edition = alerts.edition + coalesce(excluded.found > coalesce(alerts.found, 0), false)::int
  `.execute(db)
}

async function sayAgain(db: Database, problems: readonly Problem[], now: Date): Promise<void> {
  await sql`
    update alerts set
      severity = problem.severity, title = problem.title, message = problem.message, found = problem.found,
      raised_at = ${now.toISOString()}::timestamptz, edition = alerts.edition + 1
    from ${problemRows(problems)}
    where alerts.key = problem.key
  `.execute(db)
}

async function countAnew(db: Database, problems: readonly Problem[]): Promise<void> {
  await sql`
    update alerts set found = problem.found from ${problemRows(problems)} where alerts.key = problem.key
  `.execute(db)
}

async function clear(db: Database, alerts: readonly Alert[], now: Date): Promise<void> {
  const keys = alerts.map(({ key }) => key)
  await sql`delete from alerts where key = any(${keys}::text[]) and is_note`.execute(db)
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

/** Returns the alerts whose present state `receiver` has not been told, errors first, and the oldest change first. */
export async function listUntold(db: Database, receiver: string): Promise<Alert[]> {
  const { rows } = await sql<Alert>`
    select ${columns} from alerts
      left join lateral (
        select edition as told from alert_receipts
        where alert_receipts.key = alerts.key and alert_receipts.receiver = ${receiver}
      ) as receipt on true
    where case when cleared_at is null then coalesce(told < edition, true) else told is not null end
    order by severity = 'error' desc, coalesce(cleared_at, raised_at), key
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
  const raisedAt = sql`${alert.raisedAt.toISOString()}::timestamptz`
  // Forgotten while it was being told: this one has to hear that it is over. Of a note nobody has to.
  await sql`
    with kept as (
      insert into alerts (key, severity, title, message, since, began_at, raised_at, cleared_at, edition)
      select key, severity, title, message, since, ${raisedAt}, ${raisedAt}, ${at}, ${alert.edition}
      from ${problemRows([alert])}
      where ${!alert.isNote}
      on conflict (key) do nothing
      returning key
    )
    insert into alert_receipts (key, receiver, told_at, edition)
    select ${alert.key}, ${receiver}, ${at}, ${alert.edition}
    where exists (select from alerts where key = ${alert.key}) or exists (select from kept)
    on conflict (key, receiver) do update set
      told_at = excluded.told_at, edition = greatest(alert_receipts.edition, excluded.edition)
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
      ${problems.map(({ since }) => since.toISOString())}::timestamptz[],
      ${problems.map(({ found }) => found ?? null)}::bigint[],
      ${problems.map(({ isNote }) => isNote ?? false)}::boolean[]
    ) as problem (key, severity, title, message, since, found, is_note)`
}
