'use strict'

require('../bin/require-node.cjs')

const { spawnSync } = require('node:child_process')
const { readFileSync } = require('node:fs')
const { join } = require('node:path')
const { ensureInstalled, npm } = require('./install.cjs')

/** Licences (SPDX) that may be passed on together with ours, Apache-2.0, and ask for no more than to be named. */
const ALLOWED = ['MIT', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', '0BSD', 'Apache-2.0']
/** A registry may be silent for as long as it likes; this does not wait for it. */
const LIMIT_MS = 60_000

/**
 * Looks at the packages that users get: ends with 1 if one of them has a known weakness that is high or critical, or a
 * licence that is not allowed or not known. Where the registry does not tell, that is said, and is no failure.
 */
async function main() {
  const root = join(__dirname, '..')
  await ensureInstalled(root, { dev: false })
  const weak = weaknesses(root, LIMIT_MS)
  const strange = strangeLicences(root)
  console.log(weak.summary)
  if (weak.isBad) console.log(weak.details)
  for (const { path, licence } of strange)
    console.log(`${path} has the licence ${licence}; allowed: ${ALLOWED.join(', ')}.`)
  if (strange.length === 0) console.log('The licences of all packages that users get are allowed.')
  process.exitCode = weak.isBad || strange.length > 0 ? 1 : 0
}

/** Asks the registry for at most `limitMs`. */
function weaknesses(root, limitMs) {
  const [program, ...before] = npm()
  const args = [
    'audit',
    '--omit=dev',
    '--json',
    '--fetch-retries=1',
    '--fetch-timeout=20000',
    '--no-fund',
    '--offline=false',
    '--audit',
  ]
  const { stdout, error } = spawnSync(program, [...before, ...args], {
    cwd: root,
    encoding: 'utf8',
    timeout: limitMs,
    killSignal: 'SIGKILL',
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const report = parse(stdout)
  const counts = report?.metadata?.vulnerabilities
  if (counts === undefined) {
    const reason = error?.code ?? report?.message ?? report?.error?.summary ?? 'no answer that can be read'
    return {
      isBad: false,
      summary: `npm audit: not done, since the registry does not tell (${oneLine(reason)}).`,
      details: '',
    }
  }
  const { low, moderate, high, critical } = counts
  const summary = `npm audit: ${critical} critical, ${high} high, ${moderate} moderate, ${low} low.`
  return { isBad: high + critical > 0, summary, details: detailsOf(report) }
}

function detailsOf({ vulnerabilities = {} }) {
  const lines = Object.values(vulnerabilities).map(({ name, severity, range, via = [] }) => {
    const titles = via.map((each) => (typeof each === 'string' ? each : `${each.title} ${each.url}`))
    return `  ${name} ${range} (${severity}): ${titles.join('; ')}`
  })
  return lines.join('\n')
}

/** The packages of package-lock.json that users get, here or on another kind of machine, and whose licence is not allowed. */
function strangeLicences(root) {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
  return Object.entries(packages)
    .filter(([path, entry]) => path !== '' && !entry.dev)
    .map(([path, entry]) => ({ path, licence: licenceOf(join(root, path), entry) }))
    .filter(({ licence }) => !isAllowed(licence))
}

/** As the package itself says; of one that is not for this machine, and so not here, as the lock does. */
function licenceOf(folder, entry) {
  try {
    const { license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    return String(license?.type ?? license ?? 'unknown')
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
    return entry.license ?? 'unknown'
  }
}

/** Of several that one may choose from, one suffices; what is more complicated is for a person to read. */
function isAllowed(licence) {
  const choices = licence.replace(/^\((.*)\)$/, '$1').split(' OR ')
  return choices.some((choice) => ALLOWED.includes(choice))
}

function parse(text) {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function oneLine(text) {
  return String(text).replace(/\s+/g, ' ').trim().slice(0, 200)
}

module.exports = { strangeLicences, weaknesses }

if (require.main === module) main()
