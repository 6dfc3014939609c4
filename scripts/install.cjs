'use strict'

const { existsSync, readFileSync } = require('node:fs')
const { basename, join } = require('node:path')
const { run, fail } = require('./run.cjs')

/**
 * Installs what package-lock.json names, unless it is there already; needs no network then. `dev`: also what compiling
 * and testing need.
 */
async function ensureInstalled(root, { dev }) {
  if (isInstalled(root, { dev })) return

  console.error('Installing packages from npm; this is done once…')
  const { status, output } = await run([...npm(), ...INSTALL], { cwd: root, quiet: true })
  if (status !== 0) fail(`The packages could not be installed. ${advice(output)}`, output)
}

// What a person has configured for npm must not leave out what is needed here: NODE_ENV=production and omit=dev leave
// out the compiler. Nor may the flags of an npm that runs us (`npm pack --dry-run`). Packages' own scripts are never
// needed, and where they are forbidden nothing may differ.
const INSTALL = [
  'ci',
  '--include=dev',
  '--include=optional',
  '--ignore-scripts',
  '--install-strategy=hoisted',
  '--global=false',
  '--location=project',
  '--dry-run=false',
  '--no-audit',
  '--no-fund',
  '--no-progress',
]

/**
 * Tells whether `node_modules` holds what package-lock.json wants, by comparing it with the list that npm writes at the
 * end of an install (`node_modules/.package-lock.json`). There is no mark of our own: an install by hand counts, one
 * that was interrupted or came with a copy from another kind of machine does not.
 */
function isInstalled(root, { dev }) {
  const wanted = readPackages(join(root, 'package-lock.json'))
  const installed = readPackages(join(root, 'node_modules', '.package-lock.json'))
  if (!wanted || !installed) return false

  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '' || (entry.dev && !dev)) return true
    const found = installed[path]
    if (!found) return (entry.optional || entry.devOptional) && !isMadeForThisMachine(entry)
    if (found.version !== entry.version) return false
    if (found.integrity && entry.integrity && found.integrity !== entry.integrity) return false
    return existsSync(join(root, path, 'package.json'))
  })
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages
  } catch (error) {
    if (error.code === 'ENOENT' || error instanceof SyntaxError) return undefined
    throw error
  }
}

/**
 * Tells whether npm would install the optional package of this lock entry here. Only packages of programs for one
 * platform count: those without one hang on others that are left out, or do without.
 */
function isMadeForThisMachine({ os, cpu, libc, engines }) {
  if (!os && !cpu) return false
  return (
    allows(os, process.platform) &&
    allows(cpu, process.arch) &&
    satisfies(process.versions.node, engines?.node) &&
    (!libc || allows(libc, libcFamily()))
  )
}

function allows(list, name) {
  if (!list) return true
  const refused = list.filter((item) => item.startsWith('!'))
  return refused.length > 0 ? !refused.includes(`!${name}`) : list.includes(name)
}

/**
 * Judges the ranges that packages write into `engines`: `^1.2.3` and `>=1.2.3`, joined by `||`. Anything else does not
 * match, as npm's own answer to "is this package missing" errs towards not asking for the network.
 */
function satisfies(version, range) {
  if (!range) return true
  const actual = version.split('.').map(Number)
  return range.split('||').some((alternative) => {
    const match = /^\s*(\^|>=)\s*(\d+)(?:\.(\d+))?(?:\.(\d+))?\s*$/.exec(alternative)
    if (!match) return false
    const least = [match[2], match[3] ?? 0, match[4] ?? 0].map(Number)
    const differing = actual.findIndex((part, index) => part !== least[index])
    const reached = differing === -1 || actual[differing] > least[differing]
    return reached && (match[1] === '>=' || actual[0] === least[0])
  })
}

function libcFamily() {
  if (process.platform !== 'linux') return undefined
  // Asked of the file that npm itself asks: a report of the process costs 6 ms on every start.
  try {
    return readFileSync('/usr/bin/ldd', 'utf8').includes('musl') ? 'musl' : 'glibc'
  } catch {
    return process.report.getReport().header.glibcVersionRuntime ? 'glibc' : 'musl'
  }
}

/** The npm that runs us, else the one on the PATH. */
function npm() {
  const running = process.env.npm_execpath ?? ''
  return basename(running) === 'npm-cli.js' ? [process.execPath, running] : ['npm']
}

function advice(output) {
  if (/spawn npm ENOENT/.test(output))
    return 'npm was not found: install it (it comes with Node from https://nodejs.org) and start again.'
  if (/ENOSPC/.test(output)) return 'The disk is full: make room (about 400 MB) and start again.'
  if (/EACCES|EPERM|EROFS/.test(output)) return 'This folder cannot be written to: start as the user who owns it.'
  if (/ENOTFOUND|EAI_AGAIN|ECONN|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|SOCKET_TIMEOUT|CERT|network/.test(output)) {
    return 'The npm registry was not reached: connect this machine to the internet for the first start and start again.'
  }
  return 'npm says why above; `npm ci` in this folder tries it again.'
}

module.exports = { ensureInstalled, isInstalled, npm, satisfies }
