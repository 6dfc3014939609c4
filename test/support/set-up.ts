import { afterAll, inject } from 'vitest'
import { keepLocksIn } from '../../src/base/process-lock.ts'
import { undoAtEnds } from './ends.ts'
import { makeReapedFolder } from './reaper.ts'

/*
 * Runs before each test file, in its process. Everything that the file makes lies in one folder, for temporary files of
 * programs that it starts as well, and ends with it.
 */

const folder = makeReapedFolder(inject('runFolder'))
process.env['TMPDIR'] = folder.path
keepLocksIn(folder.path)

// The process of a test file goes on when that of Vitest is killed.
let isOver = false
process.once('disconnect', () => {
  if (!isOver) process.exit(1)
})

// Called last.
afterAll(async () => {
  await folder.reap()
  isOver = true
})
undoAtEnds()
