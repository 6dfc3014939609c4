'use strict'

const { readFileSync, readdirSync } = require('node:fs')
const { join } = require('node:path')
const { prepare, root } = require('./prepare.cjs')
const { fail, run } = require('./run.cjs')

const FUZZERS = join('test', 'fuzz')

/**
 * Runs what gets better the longer it is done (power cuts, kill -9, fuzzing, properties) for a night: `ROUNDS` passes (1000), each as
 * long as in `npm test` and with a seed of its own. Goes on after a failure, and says at the end, or at Ctrl-C, which seeds failed.
 * Beside them the fuzzers do 10^8 executions each (`EXECUTIONS`), as `npm run fuzz` does. Arguments choose among the files
 * of tests, the fuzzers by `test/fuzz`.
 */
async function main() {
  const files = process.argv.length > 2 ? process.argv.slice(2) : filesWithRounds()
  const passes = Number(process.env.ROUNDS ?? 1000)
  if (!(passes >= 1)) fail(`ROUNDS is "${process.env.ROUNDS}"; it is the number of passes, 1 or more.`)
  await prepare({ tests: true })
  const fuzzing = process.argv.length <= 2 || files.some((file) => file.includes(FUZZERS)) ? fuzz() : { status: 0 }

  let isOver = false
  const stop = () => {
    isOver = true
  }
  process.on('SIGINT', stop).on('SIGTERM', stop).on('SIGHUP', stop)

  const failures = []
  let pass = 0
  console.log(`${passes} passes over ${files.length} files of tests; Ctrl-C ends it with a report.`)
  while (pass < passes && !isOver) {
    const seed = Math.floor(Math.random() * 1_000_000_000)
    console.log(`pass ${pass + 1} of ${passes}: SEED=${seed}`)
    const { status, output } = await run([process.execPath, join(root, 'scripts', 'test.cjs'), ...files], {
      cwd: root,
      env: { ...process.env, SEED: String(seed), ROUNDS: '1' },
      quiet: true,
    })
    if (isOver) break
    pass++
    if (status === 0) continue
    console.log(output)
    failures.push(`SEED=${seed} npm test -- ${failedFiles(output, files).join(' ')}`)
  }

  const { status } = await fuzzing
  console.log(`${pass} passes, ${failures.length} failed${failures.length > 0 ? '; these repeat them:' : ''}`)
  for (const failure of failures) console.log(`  ${failure}`)
  if (status !== 0) console.log('The fuzzers have found something; see above.')
  process.exitCode = failures.length > 0 || status !== 0 ? 1 : 0
}

function fuzz() {
  return run([process.execPath, join(root, 'scripts', 'fuzz.cjs')], { cwd: root })
}

/** The files of tests that take a number of rounds. */
function filesWithRounds() {
  return readdirSync(join(root, 'test'), { recursive: true })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => join('test', file))
    .filter((file) => /support\/(rounds|property)\.ts'/.test(readFileSync(join(root, file), 'utf8')))
    .sort()
}

function failedFiles(output, files) {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours
  const plain = output.replaceAll(/\u001b\[[0-9;]*m/g, '')
  const failed = files.filter((file) => plain.includes(` FAIL  ${file}`))
  return failed.length > 0 ? failed : files
}

main()
