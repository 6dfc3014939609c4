import { createHash } from 'node:crypto'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { AppError, hasErrno } from '../errors.ts'
import type { Tables } from './tables.ts'

/** The catalogue. Every query on it throws `database_unavailable` when the database is away. */
export type Database = Kysely<Tables>

export type ConnectionSettings = { connectionString: string } | pg.ClientConfig

const MAX_CONNECTIONS = 3
/** A query that takes longer has lost its server, or met a lock that nobody will release. */
const QUERY_TIMEOUT_MS = 60_000

// Counts and sizes fit a double exactly, and sums as nearly as anybody wants to know them; Kysely and JSON want numbers.
const NUMBERS: readonly number[] = [pg.types.builtins.INT8, pg.types.builtins.NUMERIC]
const types = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    NUMBERS.includes(oid) && format !== 'binary'
      ? Number
      : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
}

/**
 * Connects lazily: the database may be away now and come later. `onLost` hears of idle connections that broke; nothing
 * is to be done about them, the next query connects anew. `queryTimeoutMs` 0 is no limit.
 */
export function openDatabase(
  settings: ConnectionSettings,
  onLost: (error: Error) => void,
  { queryTimeoutMs = QUERY_TIMEOUT_MS } = {},
): Database {
  const pool = new pg.Pool({
    ...settings,
    max: MAX_CONNECTIONS,
    idleTimeoutMillis: 10_000,
    connectionTimeoutMillis: 5_000,
    query_timeout: queryTimeoutMs,
    keepAlive: true,
    application_name: 'iclood',
    types,
    // Statements are few and take their lists as one parameter: one plan serves them all, and planning would cost more
    // than they do. It is made when the tables are still empty, and must not be one for empty tables. Compiling it
    // would cost most of all: a plan without sequential scans looks expensive enough for that.
    options: '-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off',
  })
  pool.on('error', onLost)
  // What the URL leaves out comes from nowhere else: `pg` would fall back to PGHOST and friends, which are not ours.
  return new Kysely<Tables>({ dialect: new PostgresDialect({ pool: preparing(pool) }) })
}

/** The part of `pg.Pool` that Kysely uses, with named statements (planned once) and translated errors. */
function preparing(pool: pg.Pool) {
  return {
    connect: async () => {
      const client = await pool.connect().catch((error: unknown) => {
        throw translated(error)
      })
      // A connection that breaks while it is in use says so twice: to the query, which fails, and here, where nobody
      // listening would end the process.
      const ignore = () => {}
      client.on('error', ignore)
      // A query that timed out may still be running there: whoever came next would wait for it.
      let isSpoilt = false
      return {
        query: async (text: string, values: readonly unknown[]) => {
          const named = values.length > 0 ? { name: statementName(text) } : {}
          return client.query({ ...named, text, values: [...values] }).catch((error: unknown) => {
            isSpoilt ||= isUnavailable(error)
            throw translated(error)
          })
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

function translated(error: unknown): unknown {
  if (!isUnavailable(error)) return error
  return new AppError(
    'database_unavailable',
    'The database can’t be reached just now. Nothing is lost; try again soon.',
    {
      cause: error,
    },
  )
}
