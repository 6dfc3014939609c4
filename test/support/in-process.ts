import { readdirSync, readlinkSync } from 'node:fs'
import { Writable } from 'node:stream'
import { pino } from 'pino'
import { createLibrary, forgetFolders, type Library } from '../../src/archive/library.ts'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { createApp } from '../../src/http/app.ts'
import { migrate } from '../../src/migrations/migrate.ts'
import { ServerState } from '../../src/server/state.ts'
import { Drive } from '../../src/storage/drive.ts'
import type { Hasher } from '../../src/storage/hashing/hasher.ts'
import { createIdentity, readIdentity } from '../../src/storage/identity.ts'
import { clearStaging } from '../../src/storage/staging.ts'
import { lostAndUnread } from '../../src/verify/lost-and-unread.ts'
import { endsWithTest } from './ends.ts'
import type { TestDatabase } from './postgres.ts'

/**
 * The server in the test's own process, without what it does in the background, so that a test knows every call it
 * makes.
 */
export interface InProcessServer {
  readonly url: string
  readonly root: string
  readonly db: Database
  readonly library: Library
  /** What it has logged since the last call, as lines of JSON. */
  log(): string
  /** As a new start does it: nothing is remembered, staging is cleared. */
  restart(): Promise<void>
  /** Idempotent; done at the end of the test, or file, in any case. */
  stop(): Promise<void>
}

/** Starts it on the folder `root`, a library or to become one, and listens. */
export async function startInProcess(
  root: string,
  database: TestDatabase,
  options: { hasher?: Hasher; now?: () => Date } = {},
): Promise<InProcessServer> {
  const db = openDatabase({ connectionString: database.url }, () => {})
  await migrate(db)
  const id = (await readIdentity(root)) ?? (await createIdentity(root, new Date()))
  const lines: string[] = []
  const log = pino(
    { level: 'debug' },
    new Writable({
      write: (line, _encoding, done) => {
        lines.push(String(line))
        done()
      },
    }),
  )
  const state = new ServerState()
  state.setDatabase(db)
  const open = async () => {
    const drive = new Drive(root, id, { onMissing: () => {}, onReturned: () => forgetFolders(library) })
    const library = createLibrary(db, drive, {
      minFreeSpace: 0,
      timeZone: 'Europe/Berlin',
      lostAndUnread,
      now: () => new Date(),
      ...options,
    })
    await clearStaging(drive)
    state.setLibrary(library)
  }
  await open()
  const access = { accessToken: undefined, trustedProxies: [], allowedHosts: [], corsOrigins: [] }
  const app = await createApp({ service: state, access, maxFileSize: undefined, version: 'test', log })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  let isRunning = true
  const stop = async () => {
    if (!isRunning) return
    isRunning = false
    await app.close()
    await db.destroy()
  }
  endsWithTest(stop)
  return {
    url,
    root,
    db,
    get library() {
      return state.library()
    },
    log: () => lines.splice(0).join(''),
    restart: open,
    stop,
  }
}

/** The files below `folder` that this process has open. Linux alone tells. */
export function openIn(folder: string): string[] {
  return readdirSync('/proc/self/fd')
    .map((file) => {
      try {
        return readlinkSync(`/proc/self/fd/${file}`)
      } catch {
        // The one that listed them.
        return ''
      }
    })
    .filter((path) => path.startsWith(folder))
}
