import Type from 'typebox'
import { type StatusFacts, statusFacts } from '../health/report.ts'
import type { Owner } from './owner.ts'

export const StatusAsked = Type.Object({})

/** How the household's backup is. Throws `database_unavailable`, `data_dir_full`. */
export async function status(owner: Owner): Promise<StatusFacts> {
  return statusFacts(await owner.health())
}
