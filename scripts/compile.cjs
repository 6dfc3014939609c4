'use strict'

const { createHash } = require('node:crypto')
const { cpSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } = require('node:fs')
const { dirname, join, relative, sep } = require('node:path')
const { joinPackages } = require('./join.cjs')
const { run, fail } = require('./run.cjs')

/** Compiles `src` into `dist`, unless `dist` was made from what `src` holds now. */
async function ensureBuilt(root) {
  if (isBuilt(root)) return

  console.error('Compiling…')
  // Built beside and renamed into place: an interrupted or failed build leaves the `dist` that was there.
  const staging = join(root, `dist.${process.pid}`)
  try {
    removeAbandoned(root)
    rmSync(staging, { recursive: true, force: true })
    await build(root, staging)
    replace(root, staging)
  } catch (error) {
    if (!['EACCES', 'EPERM', 'EROFS', 'ENOSPC'].includes(error.code)) throw error
    fail(
      `The compiled program could not be written (${error.message}). Make room, or start as the user who owns ${root}.`,
    )
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}

/** Tells whether `dist` was made from what `src` holds now. */
function isBuilt(root) {
  try {
    return readFileSync(join(root, 'dist', STAMP), 'utf8') === fingerprint(root)
  } catch (error) {
    if (error.code === 'ENOENT') return false
    throw error
  }
}

const STAMP = '.made-from'
const SCRIPTS = ['compile.cjs', 'join.cjs'].map((name) => join('scripts', name))

/** A checksum of everything that `dist` depends on. Contents, not times: a copy or a checkout changes those. */
function fingerprint(root) {
  const hash = createHash('sha256')
  for (const path of [...sources(root), 'tsconfig.json', 'package-lock.json', ...SCRIPTS]) {
    const content = readFileSync(join(root, path))
    hash.update(`${path.split(sep).join('/')}\0${content.length}\0`).update(content)
  }
  return hash.digest('hex')
}

function sources(root) {
  return readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
    .sort()
}

async function build(root, staging) {
  const stamp = fingerprint(root)

  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const { status, output } = await run(
    [process.execPath, compiler, '--noEmitOnError', '--singleThreaded', '--outDir', staging],
    {
      cwd: root,
      quiet: true,
    },
  )
  if (status !== 0) {
    rmSync(staging, { recursive: true, force: true })
    fail('src does not compile; see above.', output)
  }

  for (const path of sources(root).filter((path) => !path.endsWith('.ts'))) {
    const target = join(staging, relative('src', path))
    mkdirSync(dirname(target), { recursive: true })
    cpSync(join(root, path), target)
  }
  await joinPackages(root, staging)
  writeFileSync(join(staging, STAMP), stamp)
}

function replace(root, staging) {
  const dist = join(root, 'dist')
  const previous = `${staging}.old`
  // Another build may put its own in place at any moment. Either will do; the next start judges which one it is.
  for (;;) {
    if (isBuilt(root)) return
    try {
      renameSync(dist, previous)
    } catch (error) {
      if (error.code !== 'ENOENT') throw error
    }
    try {
      renameSync(staging, dist)
      return
    } catch (error) {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST' && error.code !== 'EPERM') throw error
    } finally {
      rmSync(previous, { recursive: true, force: true })
    }
  }
}

/** Removes what builds that were killed have left behind. */
function removeAbandoned(root) {
  for (const name of readdirSync(root)) {
    const pid = /^dist\.(\d+)(\.old)?$/.exec(name)?.[1]
    if (pid && !isAlive(Number(pid))) rmSync(join(root, name), { recursive: true, force: true })
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

module.exports = { ensureBuilt, isBuilt }
