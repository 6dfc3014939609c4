import { defineConfig } from 'vitest/config'

// biome-ignore lint/style/noDefaultExport: Vitest takes its configuration from the default export.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Processes, since a test file may start servers, change its environment or be killed.
    pool: 'forks',
    // Several files start a PostgreSQL each: more at a time than a small machine has processors only makes all slow.
    maxWorkers: 2,
    // Against hanging, not a measure of speed.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
