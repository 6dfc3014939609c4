import { isUtf8 } from 'node:buffer'
import { readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { hasErrno } from '../errors.ts'

/**
 * Reads the `.env` file at `path` (absolute): what it sets, and a sentence for everything about it that can't be read.
 * A file that isn't there sets nothing.
 */
export function readDotEnv(path: string): { values: NodeJS.Dict<string>; problems: readonly string[] } {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return { values: {}, problems: [] }
    if (!hasErrno(error, 'EACCES', 'EPERM', 'EISDIR', 'EIO', 'ELOOP')) throw error
    return {
      values: {},
      problems: [`${path} cannot be read (${error.code}) but must be a readable file, or not there.`],
    }
  }

  if (!isUtf8(bytes) || bytes.includes(0))
    return { values: {}, problems: [`${path} must be text in UTF-8: save it so.`] }
  const text = new TextDecoder().decode(bytes)

  // Node's parser passes over what it doesn't understand, often with the line after it, and takes a quote that isn't
  // closed for the start of a value of many lines. The photos would go to the wrong folder.
  const lines = text.split(/\r?\n/)
  const problems = lines.flatMap((line, index) =>
    ENTRY.test(line)
      ? []
      : `${path}, line ${index + 1}, must be NAME=value (quotes closed on the same line), a comment that starts with #, or empty.`,
  )
  return { values: parseEnv(lines.filter((line) => ENTRY.test(line)).join('\n')), problems }
}

const ENTRY = /^\s*(#.*|(export\s+)?[\w.-]+\s*=\s*("[^"]*".*|'[^']*'.*|`[^`]*`.*|[^"'`].*)?)?$/
