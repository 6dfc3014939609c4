import { writeFileSync } from 'node:fs'
import type { Reporter, SerializedError, TestCase, TestModule, Vitest } from 'vitest/node'

/**
 * Says what repeats the random choices of this run, and writes what `npm test` ends with to the file that the
 * environment names in `ICLOOD_TEST_SUMMARY`: the counts and the skipped tests with their reasons. Whatever fails
 * outside a test (a file that doesn't load, a hook, a rejection that nobody handles) counts as one failed test.
 */
// biome-ignore lint/style/noDefaultExport: Vitest takes a reporter's default export.
export default class SummaryReporter implements Reporter {
  #filtered = false
  #vitest: Vitest | undefined

  onInit(vitest: Vitest): void {
    this.#vitest = vitest
    this.#filtered = vitest.config.testNamePattern !== undefined
  }

  onTestRunStart(): void {
    console.log(`SEED=${this.#vitest?.config.provide.seed}`)
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const file = process.env['ICLOOD_TEST_SUMMARY']
    if (file === undefined) return

    const tests = modules.flatMap((module) => [...module.children.allTests()])
    const groups = modules.flatMap((module) => [module, ...module.children.allSuites()])
    const count = (state: 'passed' | 'failed') => tests.filter((test) => test.result().state === state).length

    const skipped = tests
      .filter((test) => test.result().state === 'skipped' || test.result().state === 'pending')
      .map((test) => ({ name: test.fullName, reason: reasonOf(test) }))
      // Tests that `-t` has not picked are skipped for Vitest, but nobody asked for them.
      .filter(({ reason }) => reason !== undefined || !this.#filtered)

    writeFileSync(
      file,
      JSON.stringify({
        passed: count('passed'),
        failed: count('failed') + groups.filter((group) => group.errors().length > 0).length + unhandled.length,
        skipped: skipped.map(({ name, reason = 'no reason given' }) => ({ name, reason })),
      }),
    )
  }
}

function reasonOf(test: TestCase): string | undefined {
  const result = test.result()
  if (result.state === 'pending') return 'the run ended before it'
  if (test.parent.errors().length > 0) return 'its set-up failed'
  return test.meta().missing ?? (result.state === 'skipped' ? result.note : undefined)
}
