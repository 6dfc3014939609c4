'use strict'

const { join } = require('node:path')
const { prepare, root } = require('./prepare.cjs')
const { run } = require('./run.cjs')

/** Measures what the README quotes; see bench/main.mjs for the options. */
async function main() {
  await prepare({ tests: false })
  const { status } = await run([process.execPath, join(root, 'bench', 'main.mjs'), ...process.argv.slice(2)], {
    cwd: root,
  })
  process.exitCode = status
}

main()
