import { humanSize } from '../base/human-size.ts'
import { printable } from '../base/shown.ts'

/** Work on files, as far as it has come. */
export interface Work {
  files: number
  totalFiles: number
  bytes: number
  totalBytes: number
}

const REDRAW_MS = 100
const LINE_MS = 10_000
/** Before that, a speed says nothing. */
const WARM_UP_MS = 2_000

/** Where progress is shown; what a command prints goes elsewhere. */
export interface ProgressStream {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

/**
 * Tells how work comes along: on a terminal in one line that is drawn anew, else in a line every ten seconds. Call
 * `show` as often as you like, and `clear` before anything else is printed.
 */
export class ProgressLine {
  readonly #stream: ProgressStream
  readonly #now: () => number
  #shownAt: number
  #isDrawn = false

  constructor(stream: ProgressStream, now: () => number = () => performance.now()) {
    this.#stream = stream
    this.#now = now
    // The first line of a log comes when there is something to tell.
    this.#shownAt = stream.isTTY ? Number.NEGATIVE_INFINITY : now()
  }

  /** `describe` returns what is shown; it is called when it is time. */
  show(describe: () => string): void {
    const now = this.#now()
    if (now - this.#shownAt < (this.#stream.isTTY ? REDRAW_MS : LINE_MS)) return
    this.#shownAt = now
    if (!this.#stream.isTTY) {
      this.#stream.write(`${printable(describe())}\n`)
      return
    }
    // A line that wraps could not be drawn anew. Some terminals say that they have no columns at all.
    const text = printable(describe()).slice(0, (this.#stream.columns || 80) - 1)
    this.#stream.write(`\r\x1b[K${text}`)
    this.#isDrawn = true
  }

  clear(): void {
    if (this.#isDrawn) this.#stream.write('\r\x1b[K')
    this.#isDrawn = false
  }
}

/** `1200 of 5000 files, 3.10GB of 12.40GB, 85.20MB/s, 2 min left`, after `ms` of it. */
export function describeWork({ files, totalFiles, bytes, totalBytes }: Work, ms: number): string {
  const parts = [
    `${files} of ${totalFiles} files`,
    `${humanSize(bytes)} of ${humanSize(Math.max(bytes, totalBytes))}`,
    ...(ms < WARM_UP_MS || bytes === 0
      ? []
      : [
          `${humanSize((bytes / ms) * 1000)}/s`,
          `${describeTime((ms / bytes) * Math.max(totalBytes - bytes, 0))} left`,
        ]),
  ]
  return parts.join(', ')
}

/** `45 s`, `2 min`, `3 h 20 min`; rounded up. */
function describeTime(ms: number): string {
  const seconds = Math.ceil(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.ceil(seconds / 60)
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
