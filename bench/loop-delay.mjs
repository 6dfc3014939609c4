import { writeFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'

/*
 * Loaded into the server with `node --import`: on SIGUSR2 writes to LOOP_DELAY_FILE how long its event loop was held up since the
 * last time, in ms. A timer every millisecond takes part in the loop; what it is late by is the delay.
 */

const RESOLUTION_MS = 1
const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
histogram.enable()

const late = (ns) => Math.max(ns / 1e6 - RESOLUTION_MS, 0)

process.on('SIGUSR2', () => {
  const delays = { worst: late(histogram.max), p99: late(histogram.percentile(99)) }
  histogram.reset()
  writeFileSync(process.env.LOOP_DELAY_FILE, JSON.stringify(delays))
})
