import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { io } from '../../src/storage/io.ts'
import { TREATMENTS } from '../support/faults.ts'

const SRC = join(import.meta.dirname, '../../src')

it('every function of the seam can be made to fail', () => {
  expect(Object.keys(TREATMENTS).sort()).toEqual(Object.keys(io).sort())
  for (const [call, { faults }] of Object.entries(TREATMENTS)) expect(faults.length, call).toBeGreaterThan(0)
})

/** The files of `src`, whatever room they are in, that import one of these packages for more than types and numbers. */
async function importing(packages: RegExp): Promise<string[]> {
  const found: string[] = []
  for (const file of (await readdir(SRC, { recursive: true })).filter((name) => /\.[jt]s$/.test(name))) {
    const source = await readFile(join(SRC, file), 'utf8')
    const imports = source.matchAll(
      /^(?:import|export) (?!type )([^']*?) from '([^']+)'|\b(?:import|require)\('([^']+)'/gm,
    )
    for (const [, names, from, called] of imports) {
      if (packages.test(from ?? called ?? '') && names !== '{ constants }') found.push(file)
    }
  }
  return [...new Set(found)].sort()
}

it('nothing touches the file system but the seam, and what belongs to this machine rather than to a drive', async () => {
  const files = await importing(/^(node:)?fs(\/promises)?$/)
  // The embedded database lies beside the drive, in DATA_DIR.
  const others = files.filter((file) => !file.startsWith('postgres/'))
  expect(others).toEqual(
    [
      // The seam itself.
      'storage/descriptors.ts',
      'storage/entry.ts',
      'storage/inside.ts',
      'storage/io.ts',
      // What disks there are, the system knows.
      'storage/one-device.ts',
      // The program's own settings, version and names; locks, folders and the owner's note of DATA_DIR.
      'config/dot-env.ts',
      'config/values.ts',
      'main.ts',
      'server/own-names.ts',
      'base/held-folder.ts',
      'base/make-folders.ts',
      'base/owner-note.ts',
      'base/process-lock.ts',
    ].sort(),
  )
})

it('nothing speaks SQL but the catalogue and its migrations', async () => {
  const files = await importing(/^(pg|kysely)(\/|$)/)
  expect(files.filter((file) => !/^(catalogue|migrations)\//.test(file))).toEqual([])
  expect(files.length).toBeGreaterThan(0)
})

it('nothing knows of HTTP but http, and the one who starts it', async () => {
  const files = await importing(/^@?fastify(\/|$)/)
  expect(files.filter((file) => !file.startsWith('http/'))).toEqual([])
  expect(files.length).toBeGreaterThan(0)
})
