import { createHash } from 'node:crypto'

/** In which of `of` parts a path lies, from 1; the catalogue finds the same (`listSelected`). */
export function partOf(path: string, of: number): number {
  const bits = Number.parseInt(createHash('md5').update(path).digest('hex').slice(0, 7), 16)
  return (bits % of) + 1
}
