import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmod, chown, open as openFile, readdir, readlink, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { acquireProcessLock, isLocked } from '../../src/base/process-lock.ts'
import { type Installation, install } from '../support/embedded.ts'
import { endsWithTest } from '../support/ends.ts'
import { command, needs, root } from '../support/needs.ts'
import { makeFolder } from '../support/server.ts'

const PROGRAM = `
import { acquireProcessLock, isLocked, keepLocksIn } from './dist/base/process-lock.js'
keepLocksIn(process.argv[2])
console.log(await acquireProcessLock(process.argv[1]) ? 'mine' : 'taken')
setInterval(() => {}, 1000)
`

let installed: Installation
beforeAll(async () => {
  installed = await install({ ownPackage: false })
})
afterAll(() => rm(installed.folder, { recursive: true, force: true }))

const uniqueName = (context: { task: { id: string } }) => `/a folder/${process.pid}/${context.task.id}`

async function tryElsewhere(name: string, dataDir = tmpdir()): Promise<{ process: ChildProcess; answer: string }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM, name, dataDir], {
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

it('is refused to a process with another DATA_DIR as well, while its owner lives', async (context) => {
  const name = uniqueName(context)
  const elsewhere = await makeFolder()
  const owner = await tryElsewhere(name, elsewhere)
  expect(owner.answer).toBe('mine')
  expect(await isLocked(name)).toBe(true)
  expect(await acquireProcessLock(name)).toBeUndefined()
  await kill(owner.process)
  const lock = await acquireProcessLock(name)
  expect(lock).toBeDefined()
  await lock?.release()
})

describe('another user of the machine', needs(root(), command('flock', 'util-linux')), () => {
  const STRANGER = { uid: 65534, gid: 65534 }
  const id = (name: string) => `iclood-${createHash('sha256').update(name).digest('hex')}`
  const asStranger = (program: string, ...args: string[]) => {
    const child = spawn(program, args, { ...STRANGER, cwd: '/', stdio: ['ignore', 'pipe', 'inherit'] })
    endsWithTest(() => child.kill('SIGKILL'))
    return child
  }

  it('can’t open the files, whatever the way to them is open for', async (context) => {
    const folder = await makeFolder('/tmp')
    await chmod(folder, 0o777)
    const owner = await tryElsewhere(uniqueName(context), folder)
    expect(owner.answer).toBe('mine')
    await kill(owner.process)
    const file = join(folder, '.locks', id(uniqueName(context)))
    expect((await stat(file)).mode & 0o077).toBe(0)
    const attack = asStranger('flock', '-n', file, 'true')
    expect((await once(attack, 'exit'))[0]).not.toBe(0)
    const again = await tryElsewhere(uniqueName(context), folder)
    expect(again.answer).toBe('mine')
    await kill(again.process)
  })

  it('takes nothing by files of his own with that name that he holds open, locked, under other programs too', async (context) => {
    const name = uniqueName(context)
    const folder = await makeFolder('/tmp')
    await chown(folder, STRANGER.uid, STRANGER.gid)
    const file = join(folder, id(name))
    const attack = asStranger('flock', file, 'sh', '-c', 'echo held; sleep 600')
    await once(attack.stdout, 'data')
    // As a program with the right to be root would, that a stranger has started.
    const open = await openFile(file, 'r')
    expect(await isLocked(name)).toBe(false)
    const lock = await acquireProcessLock(name)
    expect(lock).toBeDefined()
    await lock?.release()
    await open.close()
  })

  it('takes nothing by listening under the names that were the locks of version 0.2', async (context) => {
    const name = uniqueName(context)
    const squat = `require('net').createServer().listen('\\0${id(name)}', () => console.log('held'))`
    await once(asStranger(process.execPath, '-e', squat).stdout, 'data')
    const lock = await acquireProcessLock(name)
    expect(lock).toBeDefined()
    await lock?.release()
  })
})

it('made by root in the data folder of a person is that person’s', needs(root()), async (context) => {
  const folder = await makeFolder()
  await chown(folder, 1234, 1234)
  const owner = await tryElsewhere(uniqueName(context), folder)
  expect(owner.answer).toBe('mine')
  await kill(owner.process)
  const locks = join(folder, '.locks')
  for (const path of [locks, ...(await readdir(locks)).map((name) => join(locks, name))]) {
    expect((await stat(path)).uid).toBe(1234)
  }
  expect(await readdir(locks)).toHaveLength(1)
})
