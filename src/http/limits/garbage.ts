import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * Received bytes after which V8 is asked to look for what is free among what is new. By itself it lets 32 MiB of them
 * pile up, whatever the size of its nursery. Looking takes some 0.1 ms.
 */
const EACH_BYTES = 4 * 1024 * 1024

// Not flags of the command line: they hold however the server was started.
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as (options: { type: 'minor' }) => void
setFlagsFromString('--no-expose-gc')

// What is long-lived may grow by half before V8 looks at all of it; by itself it lets it grow to four times as much.
setFlagsFromString('--heap-growing-percent=50')

let since = 0

/** Notes that `bytes` which came from the network are of no more use. */
export function noteGarbage(bytes: number): void {
  since += bytes
  if (since < EACH_BYTES) return
  since = 0
  collect({ type: 'minor' })
}
