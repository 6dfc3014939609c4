import type { BigIntStats } from 'node:fs'
import { hasErrno } from '../errors.ts'
import type { Entry } from './entry.ts'
import { io } from './io.ts'

/**
 * What lies at a name, without following it; `undefined` if nothing does, or can. Throws `StrangeEntry` if it does not
 * lie in folders of the library; system errors pass.
 */
export function lookAt(entry: Entry): Promise<BigIntStats | undefined> {
  return ifThere(io.lstat(entry))
}

/** The names in a folder; `undefined` if there is no such folder. Throws as `lookAt`. */
export function namesIn(folder: Entry): Promise<string[] | undefined> {
  return ifThere(io.list(folder))
}

async function ifThere<Result>(work: Promise<Result>): Promise<Result | undefined> {
  try {
    return await work
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR', 'ENAMETOOLONG')) return undefined
    throw error
  }
}
