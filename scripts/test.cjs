'use strict'

require('../bin/require-node.cjs')

const { mkdtempSync, readFileSync, rmSync } = require('node:fs')
const { tmpdir } = require('node:os')
const { join } = require('node:path')
const { prepare, root } = require('./prepare.cjs')
const { run } = require('./run.cjs')

/** Runs the tests, names those that were skipped and why, and ends with the line of counts. */
async function main() {
  await prepare({ tests: true })

  const folder = mkdtempSync(join(tmpdir(), 'iclood-tests-'))
  const file = join(folder, 'summary.json')
  try {
    const { status } = await run(
      [process.execPath, join(root, 'node_modules', 'vitest', 'vitest.mjs'), 'run', ...process.argv.slice(2)],
      { cwd: root, env: { ...process.env, ICLOOD_TEST_SUMMARY: file } },
    )
    const { passed, failed, skipped } = readSummary(file)

    for (const { name, reason } of skipped) console.log(`skipped: ${name} (${reason})`)
    if (passed + failed === 0) console.log('No test was run.')
    process.exitCode = status === 0 && passed + failed === 0 ? 1 : status
    console.log(`${passed} passed, ${failed} failed, ${skipped.length} skipped`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function readSummary(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    if (error.code === 'ENOENT') return { passed: 0, failed: 0, skipped: [] }
    throw error
  }
}

main()
