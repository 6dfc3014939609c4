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

/** Reads what `sha256sum` or this server wrote; lines that can't be read are left out. */
export function parseSums(text: string): ParsedSums {
  const sums = new Map<string, Checksum>()
  const lines = text.split('\n')
  let isClean = lines.pop() === ''
  for (const line of lines) {
    const [, backslash, checksum, name] = LINE.exec(line) ?? []
    const plain = backslash === '' ? name : unescaped(name)
    if (plain === undefined || checksum === undefined || sums.has(plain)) isClean = false
    if (plain !== undefined && checksum !== undefined) sums.set(plain, parseChecksum(checksum) as Checksum)
  }
  return { sums, isClean }
}

function unescaped(name: string | undefined): string | undefined {
  if (name === undefined || !/^(?:[^\\]|\\[\\nr])*$/.test(name)) return undefined
  return name.replace(/\\[\\nr]/g, (code) => ESCAPES[code as keyof typeof ESCAPES])
}
