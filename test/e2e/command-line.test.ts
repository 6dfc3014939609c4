import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { runCommand } from '../support/command.ts'
import { makeFolder, startServer } from '../support/server.ts'

it('a misspelt command is answered with the nearest one, and nothing is started', async () => {
  const result = await runCommand(await makeFolder(), ['verfy'], {})
  expect(result).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(/unknown command 'verfy'[\s\S]*verify/),
  })
})

it('a misspelt option is answered with the nearest one', async () => {
  const result = await runCommand(await makeFolder(), ['verify', '--sinc', '30d'], {})
  expect(result.stderr).toMatch(/unknown option '--sinc'[\s\S]*--since/)
})

it('without a command it says what there is', async () => {
  const result = await runCommand(await makeFolder(), [], {})
  expect(result).toMatchObject({ code: 0, stderr: '' })
  for (const command of ['serve', 'verify', 'rebuild', 'mirror', 'status'])
    expect(result.stdout).toContain(`  ${command}`)
})

it('a misspelt setting in .env is named at the start, with the one that was meant', async () => {
  const folder = await makeFolder()
  await writeFile(join(folder, '.env'), 'UPLOAD_FODLER=/mnt/photos\nSECRET_KEY=x\n')
  const server = await startServer(folder)
  expect(server.output()).toContain(
    '.env sets UPLOAD_FODLER, which is no setting and changes nothing. Did you mean UPLOAD_FOLDER?',
  )
  expect(server.output()).not.toContain('SECRET_KEY')
  await server.stop()
})
