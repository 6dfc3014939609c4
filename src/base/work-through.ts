/**
 * Does `work` on all `items`, as they come, with up to `count` at a time. If one fails the others come to their ends,
 * no further ones are begun, and its error is thrown.
 */
export async function workThrough<Item>(
  items: AsyncGenerator<Item>,
  count: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const takeAll = async () => {
    try {
      for (let next = await items.next(); !next.done; next = await items.next()) await work(next.value)
    } catch (error) {
      await items.return(undefined)
      throw error
    }
  }
  const workers = Array.from({ length: count }, takeAll)
  await Promise.allSettled(workers)
  await Promise.all(workers)
}

/**
 * Yields what `list` returns portion by portion, each called with the last item of the one before; the next one is
 * asked for while these are being worked on. Ends with an empty portion.
 */
export async function* inPortions<Item>(
  list: (last: Item | undefined) => Promise<readonly Item[]>,
): AsyncGenerator<Item> {
  let next = list(undefined)
  for (;;) {
    const portion = await next
    const last = portion.at(-1)
    if (last === undefined) return
    next = list(last)
    // Whoever comes to it hears of its failure; nobody does after an earlier one.
    next.catch(() => {})
    yield* portion
  }
}
