import { inject } from 'vitest'

declare module 'vitest' {
  interface ProvidedContext {
    /** How many times slower this machine is than usual; see `measureSlowness`. */
    slowness: number
  }
}

/**
 * After how many ms what would take a moment on a quiet machine counts as hanging: `minutes` there, longer on a slower
 * one. Against hanging alone: never a measure of speed, and no test passes because of it.
 */
export function hanging(minutes = 5): number {
  return minutes * 60_000 * inject('slowness')
}
