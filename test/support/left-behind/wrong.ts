import { expect, it } from 'vitest'
import { isAlive } from '../embedded.ts'
import { startThings } from './start.ts'

let pid = 0

it('fails', async () => {
  pid = await startThings()
  expect(pid).toBe(0)
})

it('finds the server of the one before gone, and hangs', { timeout: 20_000 }, async () => {
  expect(isAlive(pid)).toBe(false)
  await startThings()
  await new Promise(() => {})
})
