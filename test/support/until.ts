import { setTimeout } from 'node:timers/promises'
import { hanging } from './limits.ts'

/**
 * Resolves to what `look` returns once that is neither undefined nor false; throws after so long that it hangs, with
 * what `more` says about it. Looks often at first: most things take a moment.
 */
export async function until<Found>(
  what: string,
  look: () => Promise<Found | undefined | false>,
  more: () => string = () => '',
): Promise<Exclude<Found, undefined | false>> {
  const end = performance.now() + hanging()
  for (let pause = 2; ; pause = Math.min(50, pause * 1.5)) {
    const found = await look()
    if (found !== undefined && found !== false) return found as Exclude<Found, undefined | false>
    if (performance.now() > end) throw new Error(`it never happened that ${what} ${more()}`.trimEnd())
    await setTimeout(pause)
  }
}
