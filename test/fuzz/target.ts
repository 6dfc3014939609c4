/** What one fuzzer attacks: code that reads what others wrote, and what must hold whatever that is. */
export interface Target {
  readonly name: string
  /** What inputs are made from besides the files in `corpus/<name>`. */
  readonly seeds: readonly Buffer[]
  /** What means something to the code, such as keywords: random bytes would never hit it. */
  readonly tokens: readonly (string | Buffer)[]
  /** How many executions the usual tests do. */
  readonly inTests: number
  /**
   * Throws, or rejects, if something does not hold for `input`, which it may change. What it does follows from `input`
   * alone.
   */
  run(input: Buffer): void | Promise<void>
}

/** Throws unless `holds`; `found` shows, in words, what was found instead. */
export function check(holds: boolean, message: string, found?: unknown): asserts holds {
  if (!holds) throw new Error(found === undefined ? message : `${message}: ${show(found)}`)
}

/** Throws unless both are the same as JSON. */
export function checkSame(actual: unknown, expected: unknown, message: string): void {
  const [one, other] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (one !== other) throw new Error(`${message}: ${show(actual)}, expected ${show(expected)}`)
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 500 ? `${text.slice(0, 500)}…` : text
}
