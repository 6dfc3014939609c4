import type { Listed } from '../catalogue/folders.ts'
import { SUMS_FILE } from '../format/layout.ts'
import type { ParsedSums } from '../format/sums-format.ts'
import type { Checksum } from '../media/checksum.ts'

/** Where a folder's SHA256SUMS and the catalogue disagree. */
export interface Disagreement {
  /**
   * Of an original, or of a file that neither the catalogue nor the folder has; SHA256SUMS if one of its lines can't be
   * read.
   */
  name: string
  /** What the catalogue knows, and what the file says; null: nothing. */
  expected: Checksum | null
  found: Checksum | null
}

/**
 * Compares a folder's SHA256SUMS (`undefined`: it has none) with what the catalogue has there, in the order of the
 * names. One that `lags` may lack lines, and have those of originals that are gone. `present` are the names that the
 * folder lists: lines about other files that are there are nobody's business.
 */
export function compareSums(
  parsed: ParsedSums | undefined,
  originals: readonly Pick<Listed, 'name' | 'checksum' | 'isLost'>[],
  present: readonly string[],
  lags = false,
): Disagreement[] {
  const sums = parsed?.sums ?? new Map<string, Checksum>()
  const disagreements: Disagreement[] = []
  for (const { name, checksum, isLost } of originals) {
    const found = sums.get(name) ?? null
    if (checksum === null || found === checksum) continue
    if (found !== null || !(isLost || lags)) disagreements.push({ name, expected: checksum, found })
  }
  const formOf = (name: string) => name.normalize('NFC')
  const known = new Set([...originals.map(({ name }) => name), ...present].map(formOf))
  for (const [name, found] of sums) {
    if (!lags && !known.has(formOf(name))) disagreements.push({ name, expected: null, found })
  }
  if (parsed?.isClean === false) disagreements.push({ name: SUMS_FILE, expected: null, found: null })
  return disagreements
}
