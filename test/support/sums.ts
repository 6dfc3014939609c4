import { addLine, type ParsedSums } from '../../src/format/sums-format.ts'

/** Reads a whole SHA256SUMS. */
export function parseSums(text: string): ParsedSums {
  const parsed: ParsedSums = { sums: new Map(), isClean: true }
  const lines = text.split('\n')
  const last = lines.pop()
  for (const line of lines) addLine(parsed, line, true)
  if (last !== '') addLine(parsed, last, false)
  return parsed
}
