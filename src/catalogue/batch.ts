import { hasCode } from '../errors.ts'

/**
 * Runs single calls as batches: while one batch is under way the next one gathers, so that a lone call waits for nobody
 * and many at once cost little more than one. `run` gets the items in the order of their calls and returns one result
 * for each, in that order.
 *
 * If a batch of several fails, its items are run one by one, so that an item nobody can process fails alone; but not
 * when the database is away, which one try has told for all.
 */
export function batched<Item, Result>(
  run: (items: readonly Item[]) => Promise<readonly Result[]>,
  maxItems = 100,
): (item: Item) => Promise<Result> {
  type Call = { item: Item; resolve: (result: Result) => void; reject: (reason: unknown) => void }
  let waiting: Call[] = []
  let isRunning = false

  async function runCalls(calls: readonly Call[]): Promise<void> {
    try {
      const results = await run(calls.map((call) => call.item))
      if (results.length !== calls.length) throw new Error(`a batch of ${calls.length} gave ${results.length} results`)
      for (const [index, result] of results.entries()) calls[index]?.resolve(result)
    } catch (error) {
      if (calls.length === 1 || hasCode(error, 'database_unavailable')) {
        for (const call of calls) call.reject(error)
      } else {
        for (const call of calls) await runCalls([call])
      }
    }
  }

  async function runWaiting(): Promise<void> {
    isRunning = true
    while (waiting.length > 0) {
      const calls = waiting.slice(0, maxItems)
      waiting = waiting.slice(maxItems)
      await runCalls(calls)
    }
    isRunning = false
  }

  return (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject })
      if (!isRunning) void runWaiting()
    })
}
