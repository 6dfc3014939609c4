import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { io } from '../../src/storage/io.ts'
import { TREATMENTS } from '../support/faults.ts'

it('every function of the seam can be made to fail', () => {
  expect(Object.keys(TREATMENTS).sort()).toEqual(Object.keys(io).sort())
  for (const [call, { faults }] of Object.entries(TREATMENTS)) expect(faults.length, call).toBeGreaterThan(0)
})

it('nothing below the edges touches the drive but through the seam', async () => {
  const found: string[] = []
  for (const folder of ['storage', 'ingest', 'catalogue', 'media', 'http']) {
    const root = join(import.meta.dirname, '../../src', folder)
    for (const file of (await readdir(root, { recursive: true })).filter((name) => name.endsWith('.ts'))) {
      const source = await readFile(join(root, file), 'utf8')
      // Types and numbers touch nothing.
      const imports = source.matchAll(/^import (?!type )(.*) from 'node:fs(\/promises)?'$/gm)
      for (const [, names] of imports) if (names !== '{ constants }') found.push(`${folder}/${file}`)
    }
  }
  // The embedded database lives beside the drive, on this machine; what disks there are the system knows.
  const others = new Set(found.filter((file) => !file.startsWith('catalogue/embedded/')))
  expect(others).toEqual(
    new Set(['descriptors', 'entry', 'inside', 'io', 'one-device'].map((name) => `storage/${name}.ts`)),
  )
})
