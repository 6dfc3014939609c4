/*
 * catalogue/: What is known, in PostgreSQL. All SQL is here; a query works on sets and returns facts. It knows no
 * drive.
 */

import { createHash } from 'node:crypto'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { STATEMENT_MS } from '../base/budgets.ts'
import { AppError, hasErrno } from '../errors.ts'
import type { Tables } from './tables.ts'

/** The catalogue. Every query on it throws `database_unavailable` when the database is away. */
export type Database = Kysely<Tables>

export type ConnectionSettings = { connectionString: string } | pg.ClientConfig

/** Those of all that happens in the background, or is asked in a moment. */
const MAX_CONNECTIONS = 3
/** A query that takes longer has lost its server: that gives up before (`STATEMENT_MS`). */
const QUERY_TIMEOUT_MS = STATEMENT_MS + 15_000

// Counts and sizes fit a double exactly, and sums as nearly as people want to know them; Kysely and JSON want
// numbers.
const NUMBERS: readonly number[] = [pg.types.builtins.INT8, pg.types.builtins.NUMERIC]
const types = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    NUMBERS.includes(oid) && format !== 'binary'
      ? Number
      : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
}

export interface ConnectionOptions {
  /** As the server lists its connections: what they are for. */
  name?: string
  connections?: number
  /** What a statement may take, in ms; 0 is no limit. */
  statementMs?: number
  /** How long a query waits for one of the connections, in ms. */
  waitMs?: number
  /**
   * Settings that each connection is to have if the server allows it, such as those that are a superuser's to change.
   */
  wishes?: Readonly<Record<string, string>>
}

/**
 * Connects lazily: the database may be away now and come later. `onLost` hears of idle connections that broke; nothing
 * is to be done about them, the next query connects anew.
 */
export function openDatabase(
  settings: ConnectionSettings,
  onLost: (error: Error) => void,
  options: ConnectionOptions = {},
): Database {
  return overPool(openPool(settings, onLost, options))
}

/** Connections for `overPool`. */
export function openPool(
  settings: ConnectionSettings,
  onLost: (error: Error) => void,
  {
    name = 'iclood',
    connections = MAX_CONNECTIONS,
    statementMs = STATEMENT_MS,
    waitMs = 5_000,
    wishes = {},
  }: ConnectionOptions,
): pg.Pool {
  const pool = new pg.Pool({
    ...settings,
    max: connections,
    idleTimeoutMillis: 10_000,
    connectionTimeoutMillis: waitMs,
    query_timeout: statementMs === 0 ? 0 : QUERY_TIMEOUT_MS,
    keepAlive: true,
    application_name: name,
    types,
    // Statements are few and take their lists as one parameter: one plan serves them all, and planning would cost more
    // than they do. It is made when the tables are still empty, and must not be one for empty tables. Compiling it
    // would cost most of all: a plan without sequential scans looks expensive enough for that.
    options: `-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off -c statement_timeout=${statementMs}`,
    onConnect: (client) => wish(client, { ...ALWAYS_WISHED, ...wishes }),
  })
  pool.on('error', onLost)
  return pool
}

/** A statement whose server has been killed ends soon: PostgreSQL looks whether anybody still listens. */
const ALWAYS_WISHED = { client_connection_check_interval: '5s' }

async function wish(client: pg.ClientBase, wishes: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, value] of Object.entries(wishes)) {
    await client.query('select set_config($1, $2, false)', [name, value]).catch((error: unknown) => {
      if (!(error instanceof pg.DatabaseError && UNGRANTED.includes(error.code ?? ''))) throw error
    })
  }
}

/** Not this role's to change, unknown to this version, or nothing that this system can do. */
const UNGRANTED: readonly string[] = ['42501', '42704', '22023', '0A000']

/** A request that may end before its queries do. */
export interface Asking {
  /** Aborts when nobody waits for an answer any more. */
  readonly gone: AbortSignal
  /** Has the server give up what it is doing for the connection with that process id. */
  cancel(processId: number): void
}

/**
 * The catalogue over connections that others may use, too. For one who is `asking`: once they have gone, what runs is
 * cancelled, and everything that is asked then throws `upload_incomplete`.
 */
export function overPool(pool: pg.Pool, asking?: Asking): Database {
  // What the URL leaves out comes from nowhere else: `pg` would fall back to PGHOST and friends, which are not ours.
  return new Kysely<Tables>({ dialect: new PostgresDialect({ pool: preparing(pool, asking) }) })
}

/** The part of `pg.Pool` that Kysely uses, with named statements (planned once) and translated errors. */
function preparing(pool: pg.Pool, asking: Asking | undefined) {
  return {
    connect: async () => {
      throwIfGone(asking)
      const client = await pool.connect().catch((error: unknown) => {
        throw translated(error)
      })
      // A connection that breaks while it is in use says so twice: to the query, which fails, and here, where nobody
      // listening would end the process.
      const ignore = () => {}
      client.on('error', ignore)
      // A query that timed out may still be running there: whoever came next would wait for it. One that is cancelled
      // too late would be the next one.
      let isSpoilt = false
      const onGone = () => {
        isSpoilt = true
        asking?.cancel(processIdOf(client))
      }
      return {
        query: async (text: string, values: readonly unknown[]) => {
          throwIfGone(asking)
          asking?.gone.addEventListener('abort', onGone, { once: true })
          try {
            const named = values.length > 0 ? { name: statementName(text) } : {}
            return await client.query({ ...named, text, values: [...values] })
          } catch (error) {
            isSpoilt ||= isUnavailable(error)
            if (isCancelled(error)) throwIfGone(asking)
            throw translated(error)
          } finally {
            asking?.gone.removeEventListener('abort', onGone)
          }
        },
        release: () => {
          client.off('error', ignore)
          client.release(isSpoilt)
        },
      }
    },
    end: () => pool.end(),
  } as unknown as pg.Pool
}

/** Of the process that serves the connection; `pg` knows it, and its types do not say so. */
function processIdOf(client: pg.PoolClient): number {
  return (client as unknown as { processID: number }).processID
}

function throwIfGone(asking: Asking | undefined): void {
  if (asking?.gone.aborted !== true) return
  throw new AppError('upload_incomplete', 'The connection was lost before the answer was ready. Ask again.')
}

const names = new Map<string, string>()

/** Statements are few and constant (lists travel as arrays), so each connection prepares each of them once. */
function statementName(text: string): string {
  const known = names.get(text)
  if (known !== undefined) return known
  const name = createHash('md5').update(text).digest('hex')
  names.set(text, name)
  return name
}

/** Errors that say that the database is away, or can't serve anybody just now; see PostgreSQL's appendix A. */
function isUnavailable(error: unknown): boolean {
  if (hasErrno(error, 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOENT', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT'))
    return true
  if (hasErrno(error, 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'EADDRNOTAVAIL')) return true
  if (error instanceof AggregateError) return error.errors.some(isUnavailable)
  if (error instanceof pg.DatabaseError) {
    // Connection exceptions, authorization, no such database, resources (disk, memory, connections), operator
    // intervention (shutdown, crash, starting up), read-only after a failover, system errors.
    return /^(08|28|3D|53|57P|25006|58)/.test(error.code ?? '')
  }
  // `pg` gives these two no code.
  return (
    error instanceof Error &&
    /^(Connection terminated|timeout exceeded|Query read timeout|Client has encountered)/.test(error.message)
  )
}

/** Somebody has cancelled it, or it has taken longer than a statement may. */
function isCancelled(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === '57014'
}

/** It would have taken more of the disk than a statement may (configuration_limit_exceeded). */
function isTooLarge(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === '53400'
}

function translated(error: unknown): unknown {
  if (isCancelled(error) || isTooLarge(error)) {
    return new AppError(
      'busy',
      'The database had too much to do for this and was told to stop. Nothing was changed by it. Try again, with fewer files at once.',
      { cause: error },
    )
  }
  if (!isUnavailable(error)) return error
  return new AppError(
    'database_unavailable',
    'The database can’t be reached just now. Nothing is lost; try again soon.',
    {
      cause: error,
    },
  )
}
