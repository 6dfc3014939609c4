import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { migrate } from '../../src/migrations/migrate.ts'
import { establishIdentity } from '../../src/rebuild/open.ts'
import { Drive } from '../../src/storage/drive.ts'
import { readIdentity } from '../../src/storage/identity.ts'
import { clearStaging } from '../../src/storage/staging.ts'
import { Durability } from '../support/durability.ts'
import { type Call, type Faults, injectFaults, type Plan, plansOf, withEachFailure } from '../support/faults.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder } from '../support/server.ts'

let folder: string
let database: TestDatabase
let db: Database
let faults: Faults
beforeAll(async () => {
  folder = await makeFolder(existsSync('/dev/shm') ? '/dev/shm' : undefined)
  database = await startTestDatabase()
  db = openDatabase({ connectionString: database.url }, () => {})
  await migrate(db)
  faults = injectFaults()
  faults.behave('fsync', async () => {})
  faults.behave('datasync', async () => {})
})
afterAll(async () => {
  faults.restore()
  await db.destroy()
  await database.drop()
  await removeFolder(folder)
})

/** Does that with this one failure; what it throws must be clear. */
async function withFailure(plan: Plan | undefined, work: () => Promise<unknown>): Promise<Map<Call, number>> {
  faults.arm(plan)
  const failure: unknown = await work().then(
    () => undefined,
    (error: unknown) => error,
  )
  const { calls } = faults.disarm()
  if (failure !== undefined) {
    expect(failure).toMatchObject({ code: plan?.fault.includes('ENOSPC') ? 'disk_full' : 'drive_error' })
  }
  return calls
}

it('a folder becomes a library once, whatever call fails, and stays it after a power cut', async () => {
  const attempt = async (plan: Plan | undefined): Promise<Map<Call, number>> => {
    await db.updateTable('places').set({ identity: null }).execute()
    const above = await mkdtemp(join(folder, 'try-'))
    const root = join(above, 'photos')
    const durability = new Durability(above)
    faults.watch(durability)
    const establish = () => establishIdentity(db, root, new Date())

    const calls = await withFailure(plan, establish)
    const id = await establish()
    expect(await readIdentity(root)).toBe(id)
    expect(durability.survives('photos/.iclood/library.json')).toBe(true)
    if (plan?.call !== 'unlink') expect(await readdir(join(root, '.iclood'))).toEqual(['library.json'])
    await rm(above, { recursive: true })
    return calls
  }
  expect(await withEachFailure(plansOf(), attempt)).toBeGreaterThan(20)
})

it('staging is cleared by the next try, whatever call fails', async () => {
  await db.updateTable('places').set({ identity: null }).execute()
  const root = await mkdtemp(join(folder, 'library-'))
  const id = await establishIdentity(db, root, new Date())
  const staging = join(root, '.iclood/incoming')
  const attempt = async (plan: Plan | undefined): Promise<Map<Call, number>> => {
    await mkdir(staging, { recursive: true })
    for (const name of ['part', 'sums']) await writeFile(join(staging, `${randomUUID()}.${name}`), '')
    const drive = new Drive(root, id, { onMissing: () => {}, onReturned: () => {} })
    const calls = await withFailure(plan, () => clearStaging(drive))
    await clearStaging(drive)
    expect(await readdir(staging)).toEqual([])
    return calls
  }
  expect(await withEachFailure(plansOf(), attempt)).toBeGreaterThan(5)
})
