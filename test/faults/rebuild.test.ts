import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createLibrary, type Library } from '../../src/archive/library.ts'
import { allRecords } from '../../src/catalogue/journal-rows.ts'
import { type RebuildReport, rebuild } from '../../src/rebuild/rebuild.ts'
import { Drive } from '../../src/storage/drive.ts'
import { JournalWriter } from '../../src/storage/journal/writer.ts'
import { lostAndUnread } from '../../src/verify/lost-and-unread.ts'
import { originalsIn } from '../support/drives.ts'
import { Durability } from '../support/durability.ts'
import { ask } from '../support/embedded.ts'
import { type Call, type Faults, injectFaults, type Plan, plansOf, withEachFailure } from '../support/faults.ts'
import { type InProcessServer, openIn, startInProcess } from '../support/in-process.ts'
import { jpeg } from '../support/media.ts'
import { post, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder } from '../support/server.ts'

const STRANGER = '2024/05/stranger.jpg'
const LOST = '2024/06/IMG_0006.JPG'

let root: string
let database: TestDatabase
let server: InProcessServer
let faults: Faults
let durability: Durability
/** What lies on the drive, and what the catalogue should know of it. */
let drive: Map<string, string>
let expected: unknown

beforeAll(async () => {
  root = await makeFolder(existsSync('/dev/shm') ? '/dev/shm' : undefined)
  database = await startTestDatabase()
  await ask(database.connection, `alter database ${database.connection.database} set synchronous_commit = off`)
  server = await startInProcess(root, database)
  for (const month of [4, 5, 6]) {
    const name = `IMG_000${month}.JPG`
    const fields = { device_id: 'iPhone', original_path: `/DCIM/${name}` }
    const bytes = jpeg({ date: `2024:0${month}:01 12:00:00`, seed: name })
    expect((await upload(server.url, bytes, { name, fields })).status).toBe(201)
  }
  await post(server.url, '/photos/ignore', { device_id: 'iPhone', files: [{ path: '/DCIM/IGNORED.PNG' }] })
  const { library } = server
  const journal = new JournalWriter(library.drive, library.committer, library.now)
  await journal.writeSnapshot(allRecords(server.db))
  await rm(join(root, LOST))
  await writeFile(join(root, STRANGER), jpeg({ date: '2024:05:01 12:00:00', seed: 'stranger' }))
  drive = await listDrive()

  faults = injectFaults()
  faults.behave('fsync', async () => {})
  faults.behave('datasync', async () => {})
  durability = new Durability(root)
  faults.watch(durability)
})
afterAll(async () => {
  faults.restore()
  await server.stop()
  await database.drop()
  await removeFolder(root)
})

async function listDrive(): Promise<Map<string, string>> {
  const paths = await originalsIn(root)
  const checksum = async (path: string) =>
    createHash('sha256')
      .update(await readFile(join(root, path)))
      .digest('hex')
  return new Map(await Promise.all(paths.map(async (path) => [path, await checksum(path)] as const)))
}

/** All that the catalogue knows, but for when it was verified. */
async function catalogue(): Promise<unknown> {
  const { rows } = await sql<{ catalogue: unknown }>`
    select json_build_object(
      'files', (select json_agg(json_build_array(path, encode(checksum, 'hex'), size, media_type, captured_at, lost_at is null) order by path) from originals),
      'backups', (select json_agg(json_build_array(id, device_id, original_path, file_path, status) order by id) from backups),
      'ignored', (select json_agg(json_build_array(id, device_id, original_path) order by id) from ignored_files),
      'library', (select json_agg(identity) from places)
    ) as catalogue
  `.execute(server.db)
  return rows[0]?.catalogue
}

async function forgetEverything(): Promise<void> {
  for (const table of ['findings', 'copies', 'backups', 'ignored_files', 'files']) {
    await sql`delete from ${sql.table(table)}`.execute(server.db)
  }
  await sql`update places set identity = null, walked_at = null, looked_until = ''`.execute(server.db)
}

async function rebuildNow(): Promise<{ report: RebuildReport; troubles: string[] }> {
  const troubles: string[] = []
  let library: Library | undefined
  const report = await rebuild(server.db, root, {
    restoring: (work) =>
      work(async (id) => {
        library = createLibrary(server.db, new Drive(root, id, { onMissing: () => {}, onReturned: () => {} }), {
          lostAndUnread,
          minFreeSpace: 0,
          timeZone: 'Europe/Berlin',
          now: () => new Date(Date.now() + 60_000),
        })
        return library
      }),
    restored: async () => library ?? server.library,
    isBusy: () => false,
    report: () => {},
    reportTrouble: (path, { message }) => troubles.push(`${path}: ${message}`),
    signal: new AbortController().signal,
  })
  return { report, troubles }
}

/** An empty catalogue is rebuilt with this one failure, and once more without. */
async function attempt(plan: Plan | undefined): Promise<Map<Call, number>> {
  await forgetEverything()
  durability.noteWritten(STRANGER)

  faults.arm(plan)
  const outcome = await rebuildNow().catch((error: unknown) => error)
  const { calls } = faults.disarm()
  if (outcome instanceof Error) {
    expect(outcome).toMatchObject({ code: plan?.fault === 'ENOSPC' ? 'disk_full' : 'drive_error' })
  }
  // Nothing that is there counts as lost, and nothing on the drive was touched.
  const { rows } = await sql<{ path: string }>`select path from originals where lost_at is not null`.execute(server.db)
  expect([[], [{ path: LOST }]]).toContainEqual(rows)
  expect(await listDrive()).toEqual(drive)

  const known = await catalogue()
  if (plan === undefined) expected = known
  if (plan === undefined || !isDeepStrictEqual(known, expected)) {
    const { report, troubles } = await rebuildNow()
    expect(troubles).toEqual([])
    expect(report).toMatchObject({ lost: 1, unreadable: 0 })
    expect(await catalogue()).toEqual(expected)
    expect(await listDrive()).toEqual(drive)
  }
  // A phone that sends it is told that it is there, so it must stay there; what the drive has failed to take from others nobody knows.
  const isFlush = plan?.call === 'datasync' || plan?.call === 'fsync'
  for (const path of drive.keys()) expect(durability.survives(path) || (isFlush && path === STRANGER), path).toBe(true)
  if (process.platform === 'linux') expect(openIn(root)).toEqual([])
  return calls
}

it('a rebuild survives the failure of each of its calls to the drive: the next one completes it', async () => {
  expect(await withEachFailure(plansOf(), attempt)).toBeGreaterThan(20)
})
