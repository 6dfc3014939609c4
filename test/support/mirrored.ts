import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { sql } from 'kysely'
import { createLibrary, type Library } from '../../src/archive/library.ts'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { rememberLibrary } from '../../src/catalogue/library.ts'
import { LIBRARY } from '../../src/catalogue/places.ts'
import type { LibraryPath } from '../../src/format/layout.ts'
import type { Checksum } from '../../src/media/checksum.ts'
import { migrate } from '../../src/migrations/migrate.ts'
import { type KeeperOptions, MirrorKeeper } from '../../src/mirror/keeper.ts'
import type { MirrorStatus } from '../../src/mirror/status.ts'
import { lostAndUnread } from '../../src/verify/lost-and-unread.ts'
import { endsWithTest } from './ends.ts'
import { openLibrary } from './library.ts'
import { startTestDatabase } from './postgres.ts'
import { until } from './until.ts'

/** A library with originals, on a real drive and in a real catalogue, for whatever keeps its second copy. */
export interface Mirrored {
  readonly root: string
  readonly db: Database
  /** The database, as a DATABASE_URL. */
  readonly url: string
  readonly library: Library
  /** Stores an original, as an upload leaves it. */
  put(path: string, bytes: Buffer): Promise<LibraryPath>
  /** The paths that the catalogue has copies of, in order. */
  copies(): Promise<string[]>
  /** Idempotent; done at the end of the test, or file, in any case. */
  close(): Promise<void>
}

/** Makes the folder `root` such a library. */
export async function makeMirrored(root: string): Promise<Mirrored> {
  const database = await startTestDatabase()
  const db = openDatabase({ connectionString: database.url }, () => {})
  await migrate(db)
  const { drive } = await openLibrary(root)
  await rememberLibrary(db, drive.id)
  let isOpen = true
  const close = async () => {
    if (!isOpen) return
    isOpen = false
    await db.destroy()
    await database.drop()
  }
  endsWithTest(close)
  const library = createLibrary(db, drive, {
    minFreeSpace: 0,
    timeZone: 'UTC',
    lostAndUnread,
    now: () => new Date(),
  })
  return {
    root,
    db,
    url: database.url,
    library,
    put: async (path, bytes) => {
      await mkdir(dirname(join(root, path)), { recursive: true })
      await writeFile(join(root, path), bytes)
      await sql`
        insert into files (path, checksum, size, media_type, stored_at)
        values (${path}, decode(${sha256(bytes)}, 'hex'), ${bytes.length}, 'image/jpeg', now())
      `.execute(db)
      return path as LibraryPath
    },
    copies: async () =>
      (
        await db
          .selectFrom('copies')
          .select('path')
          .where('place', '<>', LIBRARY)
          .where('wanted_since', 'is', null)
          .orderBy('path')
          .execute()
      ).map(({ path }) => path),
    close,
  }
}

export function sha256(bytes: Buffer): Checksum {
  return createHash('sha256').update(bytes).digest('hex') as Checksum
}

/** A keeper at work, until it is stopped. */
export interface RunningKeeper {
  readonly keeper: MirrorKeeper
  /** What it has logged. */
  readonly log: string[]
  /** Resolves with the status once it is in that state. */
  until(state: MirrorStatus['state']): Promise<MirrorStatus>
  /** Idempotent. */
  stop(): Promise<void>
}

/** Starts to keep the second copy of `library` in the folder `folder`. */
export function startKeeper(library: Library, folder: string, options: Partial<KeeperOptions> = {}): RunningKeeper {
  const log: string[] = []
  const note = (facts: unknown, message?: string) => log.push(message ?? String(facts))
  const keeper = new MirrorKeeper(library, {
    folder,
    minFreeSpace: 0,
    verifyEvery: 30 * 24 * 60 * 60 * 1000,
    wasClean: true,
    isBusy: () => false,
    suspect: async () => {},
    log: { info: note, warn: note },
    onTrouble: () => {},
    ...options,
  })
  const ending = new AbortController()
  const running = keeper.run(ending.signal)
  const stop = async () => {
    ending.abort()
    await running
    await keeper.close()
  }
  endsWithTest(stop)
  return {
    keeper,
    log,
    until: (state) =>
      until(`the mirror is ${state}`, async () => {
        const status = await keeper.status()
        return status.state === state && status
      }),
    stop,
  }
}

/** Whether the files `path` in both folders hold the same bytes. */
export async function isSame(path: string, one: string, other: string): Promise<boolean> {
  return (await readFile(join(one, path))).equals(await readFile(join(other, path)))
}
