'use strict'

require('../bin/require-node.cjs')

const { join } = require('node:path')
const { ensureInstalled } = require('./install.cjs')
const { run } = require('./run.cjs')

const root = join(__dirname, '..')
const biome = [process.execPath, join(root, 'node_modules', '@biomejs', 'biome', 'bin', 'biome')]
const tsc = [process.execPath, join(root, 'node_modules', 'typescript', 'bin', 'tsc')]

const COMMANDS = {
  check: [
    [...biome, 'ci', '.'],
    [...tsc, '--noEmit', '-p', 'tsconfig.test.json'],
  ],
  format: [[...biome, 'check', '--write', '.']],
}

/** Looks at the code (`check`), or mends what can be (`format`), with the tools installed where they are missing. */
async function main() {
  const [name = 'check', ...args] = process.argv.slice(2)
  await ensureInstalled(root, { dev: true })
  for (const command of COMMANDS[name]) {
    const { status } = await run([...command, ...args], { cwd: root })
    if (status !== 0) process.exit(status)
  }
}

main()
