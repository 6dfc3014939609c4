'use strict'

// Runs on whatever Node there is, so that an old one gets a sentence instead of a syntax error. Keep to ES2015 and to
// module names without `node:`.

const wanted = /(\d+)\.(\d+)/.exec(require('../package.json').engines.node)
const found = /(\d+)\.(\d+)/.exec(process.versions.node)

if (Number(found[1]) < Number(wanted[1]) || (found[1] === wanted[1] && Number(found[2]) < Number(wanted[2]))) {
  console.error(
    `iClood needs Node ${wanted[0]} or newer, but this is Node ${process.versions.node} (${process.execPath}). Install a current one from https://nodejs.org and start again.`,
  )
  process.exit(1)
}
