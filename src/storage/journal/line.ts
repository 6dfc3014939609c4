import { crc32 } from 'node:zlib'
import type { JournalLine } from './record.ts'

const CHECK = ',"crc":'

/** Writes a line with its check and its line feed. */
export function formatLine(line: JournalLine): string {
  const text = JSON.stringify(line).slice(0, -1)
  return `${text}${CHECK}"${checkOf(text)}"}\n`
}

/** Reads a line without its line feed; `undefined` if it is torn, damaged or no JSON object. Its type may be one we don't know. */
export function parseLine(text: string): JournalLine | undefined {
  const end = text.lastIndexOf(CHECK)
  if (end < 0 || text.slice(end) !== `${CHECK}"${checkOf(text.slice(0, end))}"}`) return undefined
  return JSON.parse(text) as JournalLine
}

function checkOf(text: string): string {
  return crc32(text).toString(16).padStart(8, '0')
}
