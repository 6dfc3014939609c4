import { it } from 'vitest'
import { startThings } from './start.ts'

it('is killed', async () => {
  await startThings()
  process.kill(process.pid, 'SIGKILL')
  await new Promise(() => {})
})
