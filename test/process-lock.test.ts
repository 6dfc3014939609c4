import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readlink, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { acquireProcessLock, isLocked } from '../src/process-lock.ts'
import { type Installation, install } from './support/embedded.ts'

const PROGRAM = `
import { acquireProcessLock, isLocked } from './dist/process-lock.js'
console.log(await acquireProcessLock(process.argv[1]) ? 'mine' : 'taken')
setInterval(() => {}, 1000)
`

let installed: Installation
beforeAll(async () => {
  installed = await install({ ownPackage: false })
})
afterAll(() => rm(installed.folder, { recursive: true, force: true }))

const uniqueName = (context: { task: { id: string } }) => `/a folder/${process.pid}/${context.task.id}`

async function tryElsewhere(name: string): Promise<{ process: ChildProcess; answer: string }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM, name], {
    cwd: installed.folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [answer] = (await once(child.stdout, 'data')) as [Buffer]
  return { process: child, answer: answer.toString().trim() }
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

it('is had by one at a time, in this process too, until it is released', async (context) => {
  const name = uniqueName(context)
  const lock = await acquireProcessLock(name)
  expect(lock).toBeDefined()
  expect(await acquireProcessLock(name)).toBeUndefined()
  expect(await acquireProcessLock(`${name}/other`)).toBeDefined()

  await Promise.all([lock?.release(), lock?.release()])
  await lock?.release()
  const again = await acquireProcessLock(name)
  expect(again).toBeDefined()
  await again?.release()
})

it('is refused to other processes while its owner lives, and free as soon as that is killed', async (context) => {
  const name = uniqueName(context)
  const owner = await tryElsewhere(name)
  expect(owner.answer).toBe('mine')
  const second = await tryElsewhere(name)
  expect(second.answer).toBe('taken')
  expect(await acquireProcessLock(name)).toBeUndefined()

  await kill(second.process)
  expect(await acquireProcessLock(name)).toBeUndefined()
  await kill(owner.process)
  const lock = await acquireProcessLock(name)
  expect(lock).toBeDefined()
  await lock?.release()
})

it('goes to exactly one of many who want it at once', async (context) => {
  const locks = await Promise.all(Array.from({ length: 50 }, () => acquireProcessLock(uniqueName(context))))
  expect(locks.filter((lock) => lock !== undefined)).toHaveLength(1)
})

it('tells whether somebody has it, without taking it', async (context) => {
  const name = uniqueName(context)
  expect(await isLocked(name)).toBe(false)
  const lock = await acquireProcessLock(name)
  const asked = await Promise.all(Array.from({ length: 20 }, () => isLocked(name)))
  expect(asked).toEqual(Array(20).fill(true))
  await lock?.release()
  expect(await isLocked(name)).toBe(false)
})

it('keeps no file of the folder open that it is named after, so that a drive can be unmounted', async () => {
  const lock = await acquireProcessLock(installed.folder)
  const open = await Promise.all(
    (await readdir('/proc/self/fd').catch(() => [])).map((fd) => readlink(join('/proc/self/fd', fd)).catch(() => '')),
  )
  expect(open.filter((path) => path.startsWith(installed.folder))).toEqual([])
  await lock?.release()
})
