import { type Profiler, Session } from 'node:inspector'

/**
 * Watches which code is run, with V8's own counters: cheap enough to ask after each of some thousand executions, and no
 * package or compiler of its own. Of functions that have run before it was made it sees no more than that they run.
 */
export class Coverage {
  readonly #session = new Session()
  readonly #isWatched: (url: string) => boolean
  /** Of each function, which of its letters have run. */
  readonly #seen = new Map<string, Uint8Array>()

  /** `isWatched` is asked about a file's URL. */
  constructor(isWatched: (url: string) => boolean) {
    this.#isWatched = isWatched
    this.#session.connect()
    this.#session.post('Profiler.enable')
    this.#session.post('Profiler.startPreciseCoverage', { callCount: false, detailed: true })
  }

  /** Whether something has run since the last call that had not run before. */
  hasGrown(): boolean {
    let hasGrown = false
    for (const { url, functions } of this.#take()) {
      if (!this.#isWatched(url)) continue
      for (const { ranges } of functions) if (this.#add(url, ranges)) hasGrown = true
    }
    return hasGrown
  }

  /** Ranges come from the outermost, the whole function, inwards. */
  #add(url: string, ranges: readonly Profiler.CoverageRange[]): boolean {
    const [whole] = ranges
    if (whole === undefined) return false
    const start = whole.startOffset
    const run = new Uint8Array(whole.endOffset - start)
    for (const { startOffset, endOffset, count } of ranges)
      run.fill(count > 0 ? 1 : 0, startOffset - start, endOffset - start)
    const key = `${url} ${start}`
    const seen = this.#seen.get(key)
    if (seen === undefined) this.#seen.set(key, run)
    if (seen === undefined) return true
    let hasGrown = false
    for (let at = 0; at < run.length; at++) {
      if (run[at] === 0 || seen[at] === 1) continue
      seen[at] = 1
      hasGrown = true
    }
    return hasGrown
  }

  stop(): void {
    this.#session.post('Profiler.stopPreciseCoverage')
    this.#session.disconnect()
  }

  #take(): readonly Profiler.ScriptCoverage[] {
    let taken: readonly Profiler.ScriptCoverage[] = []
    // It answers before it returns.
    this.#session.post('Profiler.takePreciseCoverage', (error, { result }) => {
      if (error !== null) throw error
      taken = result
    })
    return taken
  }
}
