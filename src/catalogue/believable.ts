import { type RawBuilder, sql } from 'kysely'
import { believableUntil } from '../base/clock.ts'

/** The last moment that can be believed at `now` (see `believableUntil`), as a parameter. */
export function believable(now: Date): RawBuilder<Date> {
  return sql<Date>`${believableUntil(now).toISOString()}::timestamptz`
}
