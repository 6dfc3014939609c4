import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, expect, it } from 'vitest'
import { endsWithTest } from './ends.ts'
import { startOf } from './left-behind/start-of.ts'
import { needs } from './needs.ts'
import { makeFolder } from './server.ts'
import { until } from './until.ts'

// Who works where is read from /proc.
const linux = () => (process.platform === 'linux' ? undefined : 'Linux')

let notes: string
beforeEach(async () => {
  notes = join(await makeFolder(), 'notes')
  await writeFile(notes, '')
})

/** Runs a test of the folder `left-behind`, in a run of its own. */
function runTests(file: string): { process: ChildProcess; output: Promise<string> } {
  const root = join(import.meta.dirname, '../..')
  const config = join(import.meta.dirname, 'left-behind/vitest.config.ts')
  const args = [join(root, 'node_modules/vitest/vitest.mjs'), 'run', '--config', config, '--root', root, file]
  const { ICLOOD_TEST_SUMMARY: _, ...env } = process.env
  const child = spawn(process.execPath, args, {
    env: { ...env, LEFT_BEHIND: notes },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  endsWithTest(() => child.kill('SIGKILL'))
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      printed += text
    })
  }
  return { process: child, output: once(child, 'close').then(() => printed) }
}

/** What a test has started and is still there, of all that it has noted. */
async function leftBehind(): Promise<string[]> {
  const lines = (await readFile(notes, 'utf8')).split('\n').filter((line) => /^(process|path|image) /.test(line))
  expect(lines.length).toBeGreaterThan(4)
  const loops = (await readdir('/sys/block').catch(() => [])).map((name) => `/sys/block/${name}/loop/backing_file`)
  const images = await Promise.all(loops.map((file) => readFile(file, 'utf8').catch(() => '')))
  return lines.filter((line) => {
    const [kind, what = '', start] = line.split(' ')
    if (kind === 'process') return startOf(Number(what)) === start
    return kind === 'image' ? images.some((image) => image.startsWith(what)) : existsSync(what)
  })
}

it('a test that fails and one that hangs leave nothing behind', needs(linux()), async () => {
  const output = await runTests('wrong.ts').output
  expect(output).toContain('to be +0')
  expect(output).toContain('timed out in 20000ms')
  expect(output).toMatch(/Tests .*2 failed/)
  expect(await leftBehind()).toEqual([])
})

it('neither does a file whose process is killed', needs(linux()), async () => {
  expect(await runTests('killed.ts').output).toContain('Worker exited unexpectedly')
  expect(await leftBehind()).toEqual([])
})

it('nor a run that is killed as a whole', needs(linux()), async () => {
  const { process: child } = runTests('waits.ts')
  await until('it has started things', async () => (await readFile(notes, 'utf8')).includes('waits'))
  expect((await leftBehind()).length).toBeGreaterThan(4)
  child.kill('SIGKILL')
  await until('all is gone', async () => (await leftBehind()).length === 0)
})
