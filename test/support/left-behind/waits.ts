import { appendFileSync } from 'node:fs'
import { it } from 'vitest'
import { startThings } from './start.ts'

it('waits for the run to be killed', async () => {
  await startThings()
  appendFileSync(process.env['LEFT_BEHIND'] ?? '', 'waits\n')
  await new Promise(() => {})
})
