import { withResolvers } from './resolvers.ts'

/** Runs at most one task at a time for each key, in the order of the calls; other keys go on beside it. */
export class KeyedLock {
  readonly #last = new Map<string, Promise<void>>()

  /** Returns or throws what `task` does. */
  async run<Result>(key: string, task: () => Promise<Result>): Promise<Result> {
    const before = this.#last.get(key)
    const { promise: done, resolve: release } = withResolvers<void>()
    this.#last.set(key, done)
    await before
    try {
      return await task()
    } finally {
      if (this.#last.get(key) === done) this.#last.delete(key)
      release()
    }
  }
}
