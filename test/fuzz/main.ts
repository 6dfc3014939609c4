import { readFileSync } from 'node:fs'
import { availableParallelism, constants, setPriority } from 'node:os'
import { relative, resolve } from 'node:path'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { save } from './failures.ts'
import { fuzz, shorten } from './fuzz.ts'
import { MAX_INPUT_BYTES } from './mutator.ts'
import type { Target } from './target.ts'
import { TARGETS } from './targets.ts'

/*
 * Fuzzes for as long as it is given, on all processors, and yields to whatever else runs there. `scripts/fuzz.cjs`
 * compiles and starts it: `main.js <repository> [<target> [<input>]]`, with `EXECUTIONS` for each target and `SEED`.
 */

/** A share of a target's executions, with a seed of its own: short enough to be repeated. */
const SLICE = 1_000_000
/** Of those the first, in which what reaches something new is noticed. Noticing it takes longer than running it. */
const WATCHED = 5000
/** No execution takes longer than some milliseconds. */
const STUCK_MS = 60_000
/** A target that fails as often needs a person, not more of the same. */
const MAX_FAILURES = 5

/** What a thread is told. */
interface Slice {
  target: string
  corpora: string
  seed: number
  executions: number
  /** Where the input at work stands for others to see, should it never come to an end. */
  input: SharedArrayBuffer
  /** The length of that input, and how many have begun. */
  state: SharedArrayBuffer
}

/** What a thread answers. */
interface Answer {
  executions: number
  /** How many inputs reached something new. */
  reached: number
  failure?: { input: Uint8Array; message: string }
}

/** Of one target, so far. */
interface Tally {
  target: Target
  /** Executions that are done or at work. */
  given: number
  executions: number
  seconds: number
  failures: string[]
}

async function work({ target: name, corpora, seed, executions, input, state }: Slice): Promise<Answer> {
  const target = targetOf(name)
  const bytes = Buffer.from(input)
  const numbers = new Int32Array(state)
  const outcome = await fuzz({
    target,
    corpora,
    seed,
    executions,
    watched: WATCHED,
    onInput(next) {
      next.copy(bytes)
      numbers[0] = next.length
      Atomics.add(numbers, 1, 1)
    },
  })
  const { executions: done, reached } = outcome
  if (outcome.failure === undefined) return { executions: done, reached }
  const { error } = outcome.failure
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { executions: done, reached, failure: { input: await shorten(target, outcome.failure.input), message } }
}

/** Runs a slice in a thread of its own, and gives it up when it is stuck. */
function runSlice(target: Target, corpora: string, seed: number, executions: number, threads: Set<Worker>) {
  const input = new SharedArrayBuffer(MAX_INPUT_BYTES)
  const state = new SharedArrayBuffer(8)
  const numbers = new Int32Array(state)
  const slice: Slice = { target: target.name, corpora, seed, executions, input, state }
  const thread = new Worker(new URL(import.meta.url), { workerData: slice })
  threads.add(thread)
  return new Promise<Answer>((settle) => {
    const broken = (message: string) => {
      const at = Buffer.from(Buffer.from(input).subarray(0, numbers[0]))
      settle({ executions: numbers[1] ?? 0, reached: 0, failure: { input: at, message } })
    }
    let begun = -1
    const watch = setInterval(() => {
      if (numbers[1] === begun) broken(`It has not come to an end for ${STUCK_MS / 1000} seconds.`)
      begun = numbers[1] ?? 0
    }, STUCK_MS)
    thread.once('message', settle)
    // Out of memory, for instance.
    thread.once('error', (error) => broken(String(error)))
    thread.once('exit', () => broken('Its thread has ended.'))
    thread.once('exit', () => clearInterval(watch))
  }).finally(() => {
    threads.delete(thread)
    return thread.terminate()
  })
}

async function fuzzAll(root: string, targets: readonly Target[], executions: number, seed: number): Promise<void> {
  const corpora = resolve(root, 'test/fuzz/corpus')
  const tallies = targets.map((target): Tally => ({ target, given: 0, executions: 0, seconds: 0, failures: [] }))
  const threads = new Set<Worker>()
  let isOver = false
  let slices = 0
  const next = () =>
    tallies
      .filter(({ given, failures }) => !isOver && given < executions && failures.length < MAX_FAILURES)
      .sort((a, b) => a.given - b.given)[0]
  const runSlices = async () => {
    for (let tally = next(); tally !== undefined; tally = next()) {
      const { target } = tally
      const share = Math.min(SLICE, executions - tally.given)
      tally.given += share
      const own = seed + slices++
      const begin = performance.now()
      const { executions: done, reached, failure } = await runSlice(target, corpora, own, share, threads)
      const seconds = (performance.now() - begin) / 1000
      tally.executions += done
      tally.seconds += seconds
      if (isOver) return
      console.log(
        `${target.name}: ${done} executions with seed ${own}, ${perSecond(done, seconds)}; ${reached} inputs reached something new`,
      )
      if (failure === undefined) continue
      const path = relative(root, save(resolve(root, 'fuzz-failures'), target.name, Buffer.from(failure.input)))
      tally.failures.push(`npm run fuzz -- ${target.name} ${path}`)
      console.log(`${target.name} failed with seed ${own} after ${done} executions: ${failure.message}`)
    }
  }
  const report = () => {
    for (const { target, executions: done, seconds, failures } of tallies) {
      console.log(
        `${target.name}: ${done} executions, ${perSecond(done, seconds)} a thread, ${failures.length} failures`,
      )
      for (const failure of failures) console.log(`  ${failure}`)
    }
    process.exitCode = tallies.some(({ failures }) => failures.length > 0) ? 1 : 0
  }
  // Both from a terminal and from those who started us: it comes twice.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      isOver = true
      for (const thread of threads) void thread.terminate()
    })
  }
  console.log(
    `${executions} executions of each of ${targets.map(({ name }) => name).join(', ')}; Ctrl-C ends it with a report.`,
  )
  await Promise.all(Array.from({ length: availableParallelism() }, runSlices))
  report()
}

function perSecond(executions: number, seconds: number): string {
  return `${Math.round(executions / Math.max(seconds, 0.001))} a second`
}

function targetOf(name: string): Target {
  const target = TARGETS.find((each) => each.name === name)
  if (target !== undefined) return target
  throw new Error(`There is no target "${name}"; there are ${TARGETS.map((each) => each.name).join(', ')}.`)
}

function numberOf(name: string, otherwise: number): number {
  const value = Number(process.env[name] ?? otherwise)
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new Error(`${name} is "${process.env[name]}"; a whole number is expected.`)
}

if (isMainThread) {
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL)
  const [root = '', name, input] = process.argv.slice(2)
  if (name !== undefined && input !== undefined) {
    await targetOf(name).run(readFileSync(resolve(root, input)))
    console.log(`${name} holds for ${input}.`)
  } else {
    const targets = name === undefined ? TARGETS : [targetOf(name)]
    await fuzzAll(root, targets, numberOf('EXECUTIONS', 1e8), numberOf('SEED', Math.floor(Math.random() * 1e9)))
  }
} else {
  parentPort?.postMessage(await work(workerData as Slice))
}
