import { mkdir, truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { adoptStrangers } from '../../src/rebuild/strangers.ts'
import { makeMirrored } from '../support/mirrored.ts'
import { makeFolder } from '../support/server.ts'

it('a file larger than any photo is told of and left alone, and the others are adopted', async () => {
  const { root, db, library } = await makeMirrored(join(await makeFolder(), 'library'))
  await mkdir(join(root, '2024/07'), { recursive: true })
  for (const name of ['giant.jpg', 'photo.jpg']) {
    await writeFile(join(root, '2024/07', name), 'bytes')
    if (name === 'giant.jpg') await truncate(join(root, '2024/07', name), 2 ** 43 + 1)
    await utimes(join(root, '2024/07', name), 1_600_000_000, 1_600_000_000)
  }
  const told: string[] = []
  const adopted = await adoptStrangers(library, {
    reportTrouble: (path, { message }) => told.push(path, message),
    signal: new AbortController().signal,
  })
  expect(adopted).toEqual({ files: 1, bytes: 5 })
  expect(told).toEqual(['2024/07/giant.jpg', expect.stringContaining('is larger than')])
  expect(await db.selectFrom('files').select('path').execute()).toEqual([{ path: '2024/07/photo.jpg' }])
})
