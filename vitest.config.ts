import { defineConfig } from 'vitest/config'
import { measureSlowness } from './test/support/slowness.ts'

const slowness = measureSlowness()
const rounds = numberOf('ROUNDS', 1)
const seed = numberOf('SEED', Math.floor(Math.random() * 1_000_000))
// Against hanging, not a measure of speed: what runs into it takes a minute at most otherwise. The machine may get
// busier after the start.
const timeout = 15 * 60_000 * slowness * Math.max(1, rounds)

function numberOf(name: string, otherwise: number): number {
  const value = Number(process.env[name] ?? otherwise)
  if (value >= 0) return value
  throw new Error(`${name} is "${process.env[name]}"; a number is expected.`)
}

// biome-ignore lint/style/noDefaultExport: Vitest takes its configuration from the default export.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/run.ts'],
    setupFiles: ['test/support/set-up.ts'],
    reporters: ['default', 'test/support/reporter.ts'],
    provide: { slowness, seed, rounds },
    // Processes, since a test file may start servers, change its environment or be killed.
    pool: 'forks',
    // On two processors: a third of the time they wait, for a drive or for what a server does in the background.
    maxWorkers: 5,
    testTimeout: timeout,
    hookTimeout: timeout,
  },
})
