import pg from 'pg'

const TRIES = 3

/**
 * Runs a statement, or a whole transaction, again if PostgreSQL has ended it to resolve a deadlock (40P01): it has
 * changed nothing then, and whoever was in the way has been let through.
 */
export async function retryingDeadlocks<Result>(run: () => Promise<Result>): Promise<Result> {
  for (let tries = 1; ; tries++) {
    try {
      return await run()
    } catch (error) {
      if (tries >= TRIES || !isDeadlock(error)) throw error
    }
  }
}

/** Whether PostgreSQL has ended the transaction to resolve a deadlock. */
export function isDeadlock(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === '40P01'
}
