import { type Checksum, parseChecksum } from '../media/checksum.ts'

/** What a SHA256SUMS holds. */
export interface ParsedSums {
  /** Of several lines of one name the last. */
  sums: Map<string, Checksum>
  /**
   * Whether every line can be read, ends, and is the only one of its name: nothing that `sha256sum -c` would complain
   * about.
   */
  isClean: boolean
}

const LINE = /^(\\?)([0-9a-fA-F]{64}) [ *]([^\0]+)$/s
const ESCAPES = { '\\\\': '\\', '\\n': '\n', '\\r': '\r' } as const
const ESCAPED = { '\\': '\\\\', '\n': '\\n', '\r': '\\r' } as const

/** Writes a line of GNU `sha256sum`, with its line feed. */
export function formatSum(name: string, checksum: Checksum): string {
  const escaped = name.replace(/[\\\n\r]/g, (character) => ESCAPED[character as keyof typeof ESCAPED])
  return `${escaped === name ? '' : '\\'}${checksum}  ${escaped}\n`
}

/**
 * Adds a line that `sha256sum` or this server wrote, without its line feed, to what was read before. One that can't be
 * read (`undefined`: that is too long) is left out; so is one without its end (`isEnded`), which may be torn.
 */
export function addLine(parsed: ParsedSums, line: string | undefined, isEnded: boolean): void {
  const [, backslash, checksum, name] = (isEnded && line !== undefined && LINE.exec(line)) || []
  const plain = backslash === '' ? name : unescaped(name)
  if (plain === undefined || checksum === undefined || parsed.sums.has(plain)) parsed.isClean = false
  if (plain !== undefined && checksum !== undefined) parsed.sums.set(plain, parseChecksum(checksum) as Checksum)
}

function unescaped(name: string | undefined): string | undefined {
  if (name === undefined || !/^(?:[^\\]|\\[\\nr])*$/.test(name)) return undefined
  return name.replace(/\\[\\nr]/g, (code) => ESCAPES[code as keyof typeof ESCAPES])
}
