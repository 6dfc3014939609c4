import { sql } from 'kysely'
import {
  LIST_CONNECTIONS,
  LIST_STATEMENT_MS,
  LIST_TEMP_SPACE,
  LIST_WAIT_MS,
  LIST_WORK_MEMORY,
} from '../base/budgets.ts'
import { type ConnectionSettings, type Database, openPool, overPool } from './connection.ts'

/**
 * Connections for what clients ask that may take long: lists, verdicts, the log. They are few and have bounds on time,
 * memory and temporary space; nothing else waits for one of them.
 */
export interface Requests {
  /**
   * The catalogue for one request. Once `gone` aborts, its query is cancelled, and what it asks then throws
   * `upload_incomplete`. Throws `busy` for what takes more than a request may have.
   */
  for(gone: AbortSignal): Database
  destroy(): Promise<void>
}

/** `db` is asked to cancel queries: it has connections of its own. */
export function openRequests(settings: ConnectionSettings, onLost: (error: Error) => void, db: Database): Requests {
  const pool = openPool(settings, onLost, {
    name: 'iclood requests',
    connections: LIST_CONNECTIONS,
    statementMs: LIST_STATEMENT_MS,
    waitMs: LIST_WAIT_MS,
    wishes: { work_mem: LIST_WORK_MEMORY, temp_file_limit: LIST_TEMP_SPACE },
  })
  const cancel = (processId: number) => {
    // Should that fail, the query ends by its own bound, or with the connection.
    sql`select pg_cancel_backend(${processId}::integer)`.execute(db).catch(() => {})
  }
  return { for: (gone) => overPool(pool, { gone, cancel }), destroy: () => pool.end() }
}
