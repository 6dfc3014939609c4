import fc from 'fast-check'
import { inject } from 'vitest'
import { rounds } from './rounds.ts'

fc.configureGlobal({ seed: inject('seed'), numRuns: rounds(100) })

/**
 * fast-check, whose choices follow from the run's seed; give it `numRuns: rounds(…)` where the usual 100 are not right.
 */
export { fc }
