'use strict'

require('../bin/require-node.cjs')

const { join } = require('node:path')
const { ensureInstalled } = require('./install.cjs')
const { ensureBuilt, isBuilt } = require('./compile.cjs')

const root = join(__dirname, '..')

/**
 * Makes a clone ready to run: packages installed, `dist` compiled, both only where needed. `tests`: ready to test, too.
 * Ends the program with a sentence and exit code 1 where that fails. What it says goes to stderr, since stdout belongs
 * to the program.
 */
async function prepare({ tests }) {
  await ensureInstalled(root, { dev: tests || !isBuilt(root) })
  await ensureBuilt(root)
}

module.exports = { prepare, root }
