import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { sql } from 'kysely'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { listOpenFindings } from '../../src/catalogue/findings.ts'
import { recordWalk } from '../../src/catalogue/library.ts'
import { formatSum } from '../../src/format/sums-format.ts'
import { driveError } from '../../src/storage/drive-error.ts'
import { io } from '../../src/storage/io.ts'
import { receive } from '../../src/upload/receive.ts'
import { ContinuousVerification } from '../../src/verify/continuous.ts'
import { type Faults, injectFaults, systemError } from '../support/faults.ts'
import { openIn } from '../support/in-process.ts'
import { noise } from '../support/media.ts'
import { type Mirrored, makeMirrored, sha256 } from '../support/mirrored.ts'
import { makeFolder, removeFolder } from '../support/server.ts'
import { until } from '../support/until.ts'

const DAY = 24 * 60 * 60 * 1000

let root: string
let made: Mirrored
let faults: Faults
/** The paths of the originals that were opened, in order. */
let read: string[]
let isBusy: boolean
let ending: AbortController
let running: Promise<void> | undefined
let log: string[]

beforeEach(async () => {
  root = await makeFolder()
  made = await makeMirrored(root)
  await recordWalk(made.db, new Date())
  isBusy = false
  log = []
  read = []
  faults = injectFaults()
  const { open } = originals
  faults.behave('open', async (...args) => {
    const [entry, flags] = args as Parameters<typeof originals.open>
    const original = /^\d{4}\/\d{2}\/[^/]+$/.exec(entry.path)?.[0]
    if (original !== undefined && original !== read.at(-1)) read.push(original)
    return open(entry, flags)
  })
})
afterEach(async () => {
  await stop()
  faults.restore()
  await made.close()
  await removeFolder(root)
})

const originals = { open: io.open, read: io.read }

function start(every = 30 * DAY, library = made.library, patience = {}): ContinuousVerification {
  ending = new AbortController()
  const note = (_: object, message: string) => log.push(message)
  const verification = new ContinuousVerification(library, {
    every,
    isBusy: () => isBusy,
    log: { info: note, warn: note },
    onFinding: () => log.push('a finding'),
    ...patience,
  })
  running = verification.run(ending.signal).catch((error: unknown) => {
    if (!ending.signal.aborted) throw error
  })
  return verification
}

async function stop(): Promise<void> {
  ending?.abort()
  await running
  running = undefined
}

/** An original that was stored and verified that many days ago. */
async function put(path: string, stored: number, verified?: number, size = 1000): Promise<void> {
  await made.put(path, noise(size, path))
  const ago = (days: number | undefined) =>
    days === undefined ? null : new Date(Date.now() - days * DAY).toISOString()
  await sql`
    with original as (update files set stored_at = ${ago(stored)}::timestamptz where path = ${path})
    update copies set copied_at = ${ago(stored)}::timestamptz, verified_at = ${ago(verified)}::timestamptz
    where place = 0 and path = ${path}
  `.execute(made.db)
}

/** As the server keeps it. */
async function listSums(folder: string, ...names: string[]): Promise<void> {
  const lines = names.map((name) => formatSum(name, sha256(noise(1000, `${folder}/${name}`))))
  await writeFile(join(root, folder, 'SHA256SUMS'), lines.join(''))
}

const untilLogged = (message: string) => until(`it logs "${message}"`, async () => log.includes(message))
const untilRead = () => untilLogged('read photos back from the drive')

async function verifiedAt(path: string): Promise<Date | null> {
  return (
    await made.db.selectFrom('originals').select('verified_at').where('path', '=', path).executeTakeFirstOrThrow()
  ).verified_at
}

it('reads what is due, that whose proof is oldest first, and nothing else', async () => {
  await put('2024/01/verified 28 days ago.jpg', 100, 28)
  await put('2024/01/verified 29 days ago.jpg', 100, 29)
  await put('2024/01/stored 40 days ago.jpg', 40)
  await put('2024/01/stored just now.jpg', 0)
  await put('2024/01/verified 2 days ago.jpg', 300, 2)
  await sql`insert into files (path, stored_at) values ('2024/01/never read.jpg', now() - interval '90 days')`.execute(
    made.db,
  )
  await put('2024/01/lost.jpg', 200)
  await sql`update copies set wanted_since = now(), lost_at = now() where place = 0 and path = '2024/01/lost.jpg'`.execute(
    made.db,
  )
  start()
  await untilRead()
  expect(read).toEqual([
    '2024/01/stored 40 days ago.jpg',
    '2024/01/verified 29 days ago.jpg',
    '2024/01/verified 28 days ago.jpg',
  ])
  expect((await verifiedAt('2024/01/stored 40 days ago.jpg'))?.getTime()).toBeGreaterThan(Date.now() - 60_000)
})

it('goes on after a restart where it was', async () => {
  for (const n of [1, 2, 3, 4, 5]) await put(`2024/01/${n}.jpg`, 100 - n)
  isBusy = true
  start()
  // Whatever it has done by then.
  isBusy = false
  await until('one is read', async () => read.length > 0)
  await stop()
  const before = read.length
  start()
  await until('all are verified', async () => {
    const { rows } = await sql`select from originals where verified_at is null`.execute(made.db)
    return rows.length === 0
  })
  await stop()
  // What was under way when it was stopped is read twice.
  expect(read.slice(before).every((path) => path >= (read[before - 1] ?? ''))).toBe(true)
  read = []
  log = []
  await put('2024/01/new.jpg', 100)
  start()
  await untilRead()
  expect(read).toEqual(['2024/01/new.jpg'])
})

it('while nothing is due neither the drive nor the database is touched', async () => {
  await put('2024/01/stored just now.jpg', 0)
  let queries = 0
  let isAsleep = false
  const last = new WeakSet<object>()
  const db = made.db.withPlugin({
    transformQuery: ({ node, queryId }) => {
      queries++
      if (JSON.stringify(node).includes('where recheck and ')) last.add(queryId)
      return node
    },
    transformResult: async ({ result, queryId }) => {
      isAsleep ||= last.has(queryId)
      return result
    },
  })
  start(30 * DAY, { ...made.library, db })
  await until('it has asked for what comes last before it sleeps', async () => isAsleep)
  faults.arm(undefined)
  const before = queries
  // Nothing tells that nothing is going to happen.
  await setTimeout(1500)
  expect(queries).toBe(before)
  expect([...faults.disarm().calls.values()]).toEqual([])
  // It would have been noticed.
  await put('2024/01/old.jpg', 100)
  await stop()
  faults.arm(undefined)
  start(30 * DAY, { ...made.library, db })
  await untilRead()
  expect(queries).toBeGreaterThan(before)
  expect(faults.disarm().calls.get('open')).toBeGreaterThan(0)
})

it('gives way to uploads between chunks of a file, and goes on when it is quiet', async () => {
  await put('2024/01/large.mov', 100, undefined, 40 * 1024 * 1024)
  let reads = 0
  faults.behave('read', async (...args) => {
    const result = await originals.read(...(args as Parameters<typeof originals.read>))
    if (++reads === 5) isBusy = true
    return result
  })
  start()
  await until('it is reading', async () => isBusy)
  // However long that takes, the drive can be unmounted.
  if (existsSync('/proc/self/fd')) await until('it has closed the file', async () => openIn(root).length === 0)
  else await setTimeout(300)
  const held = reads
  // Nothing tells that nothing is going to happen.
  await setTimeout(700)
  expect(reads).toBe(held)
  expect(held).toBeLessThan(12)
  expect(await verifiedAt('2024/01/large.mov')).toBeNull()
  isBusy = false
  await untilRead()
  expect(await verifiedAt('2024/01/large.mov')).not.toBeNull()
})

it('after trouble, what was stored around it is read first', async () => {
  await put('2024/01/a day old.jpg', 1)
  await put('2024/01/fresh.jpg', 0)
  await put('2024/01/ten minutes old.jpg', 10 / (24 * 60))
  await put('2024/01/half an hour old.jpg', 30 / (24 * 60))
  await put('2024/01/due.jpg', 100)
  const verification = start()
  await untilRead()
  expect(read).toEqual(['2024/01/due.jpg'])
  read = []
  log = []
  verification.readSoon(new Date())
  await untilRead()
  expect(read).toEqual(['2024/01/fresh.jpg', '2024/01/ten minutes old.jpg'])
})

it('after an unclean stop, what was stored in the last minutes before it is read first', async () => {
  await put('2024/01/older.jpg', 50)
  await put('2024/01/last.jpg', 20)
  await put('2024/01/just before.jpg', 20 + 14 / (24 * 60))
  await put('2024/01/long before.jpg', 20 + 16 / (24 * 60))
  await sql`
    insert into backups (file_name, file_path, original_path, file_type, status, timestamp)
    select 'x', path, path, 'photo', 'Completed', stored_at from files
  `.execute(made.db)
  const verification = start()
  await untilRead()
  read = []
  log = []
  await verification.begin({ wasClean: true })
  await put('2024/01/due.jpg', 100)
  verification.readSoon()
  await untilRead()
  expect(read).toEqual(['2024/01/due.jpg'])
  read = []
  log = []
  await verification.begin({ wasClean: false })
  verification.readSoon()
  await untilRead()
  expect(read).toEqual(['2024/01/just before.jpg', '2024/01/last.jpg'])
})

it('an upload that fails with an I/O error has the last ones read; one that is refused does not', async () => {
  const troubles: (Date | undefined)[] = []
  const library = { ...made.library, readSoon: (around?: Date) => troubles.push(around) }
  const reception = await receive(library, 1000, undefined, 'a phone')
  const upload = { deviceId: 'x', path: 'x', assetId: null, created: null, fileName: 'x', address: 'x' }
  const refused = Object.assign(new Error('EROFS: read-only file system, open'), { code: 'EROFS', syscall: 'open' })
  await reception.recordFailure(upload, driveError(refused, 'it was tested'))
  expect(troubles).toEqual([])
  await reception.recordFailure(upload, driveError(systemError('EIO', 'write', []), 'it was tested'))
  expect(troubles).toHaveLength(1)
  await reception.discard()
})

it('what it finds is declared lost, told, and looked for in the folders at once', async () => {
  await put('2024/01/moved.jpg', 100)
  await put('2024/01/gone.jpg', 90)
  await put('2024/02/rotten.jpg', 80)
  await put('2024/02/fine.jpg', 70)
  await listSums('2024/01', 'moved.jpg', 'gone.jpg')
  await listSums('2024/02', 'rotten.jpg', 'fine.jpg')
  const bytes = await readFile(join(root, '2024/01/moved.jpg'))
  await rename(join(root, '2024/01/moved.jpg'), join(root, '2024/02/renamed by a person.jpg'))
  await rm(join(root, '2024/01/gone.jpg'))
  await writeFile(join(root, '2024/02/rotten.jpg'), 'rotten')
  start()
  await untilLogged('the folders are not as they should be')
  expect((await readFile(join(root, '2024/01/moved.jpg'))).equals(bytes)).toBe(true)
  const findings = await listOpenFindings(made.db, 100)
  expect(findings.map(({ kind, path }) => `${kind} ${path}`).sort()).toEqual([
    'corrupt 2024/02/rotten.jpg',
    'missing 2024/01/gone.jpg',
    'unknown 2024/02/renamed by a person.jpg',
  ])
  expect(log.filter((message) => message === 'a photo is not on the drive as it was stored')).toHaveLength(3)
  expect(log).toContain('a finding')
})

it('waits out a drive that is away', async () => {
  await put('2024/01/photo.jpg', 100)
  await rename(root, `${root}.away`)
  await mkdir(root)
  const verification = start()
  await untilLogged('reading photos back has to wait')
  await rm(root, { recursive: true })
  await rename(`${root}.away`, root)
  verification.readSoon(new Date())
  await untilRead()
  expect(await listOpenFindings(made.db, 100)).toEqual([])
  expect(await verifiedAt('2024/01/photo.jpg')).not.toBeNull()
})

it('a file that can’t be judged does not keep the others from being read', async () => {
  await put('2024/01/odd.jpg', 100)
  await put('2024/01/photo.jpg', 90)
  faults.behave('read', async (...args) => {
    const parameters = args as Parameters<typeof originals.read>
    if (read.at(-1) === '2024/01/odd.jpg') {
      throw Object.assign(new Error('ENOMEM: not enough memory, read'), { code: 'ENOMEM', syscall: 'read' })
    }
    return originals.read(...parameters)
  })
  start()
  await untilRead()
  expect(await verifiedAt('2024/01/photo.jpg')).not.toBeNull()
  expect(await verifiedAt('2024/01/odd.jpg')).toBeNull()
  expect(await listOpenFindings(made.db, 100)).toEqual([])
  // Nothing tells that it is not going to be tried again.
  await setTimeout(300)
  expect(log.filter((message) => message === 'a photo could not be read back just now')).toHaveLength(1)
})

it('an upload that never ends slows it down, and does not stop it', async () => {
  await put('2024/01/small.jpg', 100)
  await put('2024/01/large.jpg', 90, undefined, 3 * 1024 * 1024)
  isBusy = true
  const began = performance.now()
  start(30 * DAY, made.library, { patienceMs: 300, atMostMs: 30 })
  await untilRead()
  expect(isBusy).toBe(true)
  expect(performance.now() - began).toBeGreaterThan(300)
  expect(await verifiedAt('2024/01/small.jpg')).not.toBeNull()
  expect(await verifiedAt('2024/01/large.jpg')).not.toBeNull()
})
