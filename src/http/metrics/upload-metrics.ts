import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { ErrorCode } from '../../errors.ts'

/** How an upload ended: stored, found to be there already, or refused with that code. */
export type UploadOutcome = 'created' | 'duplicate' | ErrorCode

/** From a photo on a quick network to a long video on a slow one, in seconds. */
const DURATION_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800]

/** Counts uploads since the start of the server. */
export class UploadMetrics {
  readonly #uploads: Counter<'outcome'>
  readonly #bytes: Counter
  readonly #durations: Histogram

  /** `underWay` tells how many uploads there are at the moment. */
  constructor(registry: Registry, underWay: () => number) {
    const registers = [registry]
    this.#uploads = new Counter({
      name: 'iclood_uploads_total',
      help: 'Uploads by how they ended: created, duplicate, or the code of the refusal.',
      labelNames: ['outcome'],
      registers,
    })
    // Known before the first of them, so that a rate can be had of it.
    for (const outcome of ['created', 'duplicate'] as const) this.#uploads.inc({ outcome }, 0)
    this.#bytes = new Counter({
      name: 'iclood_upload_bytes_total',
      help: 'Bytes of photos and videos in uploads that ended well.',
      registers,
    })
    this.#durations = new Histogram({
      name: 'iclood_upload_duration_seconds',
      help: 'Time from the head of an upload to its answer, of uploads that ended well.',
      buckets: DURATION_BUCKETS,
      registers,
    })
    new Gauge({
      name: 'iclood_uploads_under_way',
      help: 'Uploads that are arriving at the moment.',
      registers,
      collect() {
        this.set(underWay())
      },
    })
  }

  /** Counts an upload that ended well, of `bytes`, after `milliseconds`. */
  succeeded(outcome: 'created' | 'duplicate', bytes: number, milliseconds: number): void {
    this.#uploads.inc({ outcome })
    this.#bytes.inc(bytes)
    this.#durations.observe(milliseconds / 1000)
  }

  refused(code: ErrorCode): void {
    this.#uploads.inc({ outcome: code })
  }
}
