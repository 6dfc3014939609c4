/** A name that is no setting, and the one that was probably meant. */
export interface Misspelt {
  name: string
  meant: string
}

/**
 * Finds among `names` those that look like a setting and are none. Names of other programs, such as the Flask server's
 * `SECRET_KEY`, are far from all of them and are left alone.
 */
export function findMisspelt(names: Iterable<string>, settings: readonly string[]): Misspelt[] {
  const known = new Set(settings)
  const misspelt: Misspelt[] = []
  for (const name of names) {
    if (known.has(name)) continue
    const meant = nearest(name, settings)
    if (meant !== undefined) misspelt.push({ name, meant })
  }
  return misspelt
}

function nearest(name: string, settings: readonly string[]): string | undefined {
  // `uploadFolder` and `upload-folder` are UPLOAD_FOLDER in another style.
  const plain = (text: string) => text.toUpperCase().replace(/[^A-Z0-9]/g, '')
  let best: { setting: string; distance: number } | undefined
  for (const setting of settings) {
    const distance = distanceOf(plain(name), plain(setting))
    // One slip in four letters, at most three.
    if (distance > Math.min(3, Math.floor(plain(setting).length / 4))) continue
    if (best === undefined || distance < best.distance) best = { setting, distance }
  }
  return best?.setting
}

/** Letters to insert, leave out, replace or swap with the next one to make `b` of `a` (optimal string alignment). */
function distanceOf(a: string, b: string): number {
  let older: number[] = []
  let old = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const isSame = a[row - 1] === b[column - 1]
      const isSwapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      current[column] = Math.min(
        (old[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (old[column - 1] ?? 0) + (isSame ? 0 : 1),
        isSwapped ? (older[column - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      )
    }
    older = old
    old = current
  }
  return old[b.length] ?? 0
}
