import { defineConfig } from 'vitest/config'

// biome-ignore lint/style/noDefaultExport: Vitest takes its configuration from the default export.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Processes, since a test file may start servers, change its environment or be killed.
    pool: 'forks',
    // Several files start a PostgreSQL each: many more at a time than a small machine has processors only make all slow. A third of the time
    // they wait, for a clock or a drive.
    maxWorkers: 3,
    // Against hanging, not a measure of speed.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
