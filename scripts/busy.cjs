'use strict'

const { spawn, spawnSync } = require('node:child_process')
const { readFileSync } = require('node:fs')
const { availableParallelism } = require('node:os')
const { join } = require('node:path')
const { prepare, root } = require('./prepare.cjs')
const { run } = require('./run.cjs')

const LOOPS = 6
const RUNS = 3

/** Ends by itself with the one that has started it, however that ends. */
const LOOP = 'const parent = process.ppid; while (process.ppid === parent) for (let n = 0; n < 1e7; n++);'

/** Runs the tests three times in a row on two cores that six busy loops have in common with them; ends with 0 if all were green. */
async function main() {
  await prepare({ tests: true })
  if (availableParallelism() > 2 && process.platform === 'linux') twoCores()
  const loops = Array.from({ length: LOOPS }, () => spawn(process.execPath, ['-e', LOOP], { stdio: 'ignore' }))
  const results = []
  try {
    for (let number = 1; number <= RUNS; number++) {
      console.log(`Run ${number} of ${RUNS}, beside ${LOOPS} busy loops`)
      const begin = Date.now()
      const { status } = await run([process.execPath, join(root, 'scripts', 'test.cjs'), ...process.argv.slice(2)], {
        cwd: root,
      })
      const minutes = ((Date.now() - begin) / 60_000).toFixed(1)
      results.push({ status, line: `run ${number}: ${status === 0 ? 'green' : 'red'}, ${minutes} minutes` })
    }
  } finally {
    for (const loop of loops) loop.kill('SIGKILL')
  }
  for (const { line } of results) console.log(line)
  process.exitCode = results.every(({ status }) => status === 0) ? 0 : 1
}

/** Holds this process, and all that it starts, to the first two of the cores that it may use. */
function twoCores() {
  const [, list = '0,1'] = /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
  const cores = list.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number)
    return first === last ? [first] : [first, first + 1]
  })
  const args = ['-a', '-p', '-c', cores.slice(0, 2).join(), String(process.pid)]
  if (spawnSync('taskset', args, { stdio: 'ignore' }).status === 0) return
  console.log('This machine has more than two cores, and taskset could not hold the tests to two.')
}

main()
