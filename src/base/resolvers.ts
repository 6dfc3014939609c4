/*
 * base/: What every room may use and no photo knows of: locks, waiting, printing, bounds, sizes, the clock.
 */

/** A promise and what settles it, for Node 20, which has no `Promise.withResolvers` yet. */
export interface Resolvers<Value> {
  readonly promise: Promise<Value>
  readonly resolve: (value: Value) => void
}

export function withResolvers<Value>(): Resolvers<Value> {
  let resolve: (value: Value) => void = () => {}
  const promise = new Promise<Value>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}
