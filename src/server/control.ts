import { randomBytes } from 'node:crypto'
import { lockLibrary } from '../archive/folder-locks.ts'
import { createLibrary, type Library } from '../archive/library.ts'
import { KeyedLock } from '../base/keyed-lock.ts'
import type { Database } from '../catalogue/connection.ts'
import type { Config } from '../config/config.ts'
import type { Owner } from '../control/owner.ts'
import type { WorkName } from '../control/works.ts'
import { AppError } from '../errors.ts'
import type { Control, SettingsMeant } from '../http/routes/control.ts'
import type { MirrorKeeper } from '../mirror/keeper.ts'
import { thoseThere } from '../mirror/status.ts'
import { DirectReader } from '../storage/direct-read.ts'
import { Drive } from '../storage/drive.ts'
import { readIdentity } from '../storage/identity.ts'
import { lostAndUnread } from '../verify/lost-and-unread.ts'
import type { ServerState } from './state.ts'

/** Lends commands what the server has open. */
export class ServerControl implements Control {
  readonly secret = randomBytes(32).toString('base64url')
  readonly #config: Config
  readonly #state: ServerState
  readonly #end = new AbortController()
  readonly #establishing = new KeyedLock()
  #isEstablished = false
  #openPatient: (() => Database) | undefined
  #mirrors: readonly MirrorKeeper[] = []
  #isVerifying = false

  constructor(config: Config, state: ServerState) {
    this.#config = config
    this.#state = state
  }

  get ending(): AbortSignal {
    return this.#end.signal
  }

  /** Whether a person has the library read back just now. */
  get isVerifying(): boolean {
    return this.#isVerifying
  }

  /** The catalogue's schema is up to date. */
  setCatalogue(openPatient: () => Database): void {
    this.#openPatient = openPatient
  }

  setMirrors(mirrors: readonly MirrorKeeper[]): void {
    this.#mirrors = mirrors
  }

  /** Finds out by `attempt` which library it is, while no rebuild that was asked for changes that. */
  async establish<Result>(attempt: () => Promise<Result>): Promise<Result> {
    return this.#establishing.run('', async () => {
      const result = await attempt()
      this.#isEstablished = true
      return result
    })
  }

  /** The server is about to stop: whatever commands have asked for ends. */
  stop(): void {
    this.#end.abort(
      new AppError(
        'shutting_down',
        'The server was stopped before this was done. What was done until then is kept: run the same command again.',
      ),
    )
  }

  async lend<Result>(
    { name, settings, signal }: { name: WorkName; settings: Partial<SettingsMeant>; signal: AbortSignal },
    work: (owner: Owner) => Promise<Result>,
  ): Promise<Result> {
    this.#expectSame(settings, name)
    // What is not there yet has a reason.
    const db = this.#openPatient?.() ?? this.#state.catalogue()
    try {
      return await work(this.#owner(db, signal))
    } finally {
      await db.destroy()
    }
  }

  /** A person who means another database or folder than the server has shall not be told of these. */
  #expectSame({ databaseUrl, libraryFolder }: Partial<SettingsMeant>, name: WorkName): void {
    const config = this.#config
    if (databaseUrl !== undefined && databaseUrl !== config.databaseUrl) {
      throw new AppError(
        'invalid_request',
        'The server that runs with this DATA_DIR has another database than DATABASE_URL names here. Stop it first, or use its settings.',
      )
    }
    const needsFolder = name === 'verify' || name === 'rebuild' || name === 'mirror'
    if (needsFolder && libraryFolder !== undefined && libraryFolder !== config.libraryFolder) {
      throw new AppError(
        'invalid_request',
        `The server that runs with this DATA_DIR works with the library in ${config.libraryFolder}, and UPLOAD_FOLDER names ${libraryFolder} here. Stop it first, or use its settings.`,
      )
    }
  }

  async #oneAtATime<Result>(pass: () => Promise<Result>): Promise<Result> {
    if (this.#isVerifying) {
      throw new AppError('busy', 'A verification that was asked for is under way already. Wait for its end, or end it.')
    }
    this.#isVerifying = true
    return pass().finally(() => {
      this.#isVerifying = false
    })
  }

  #owner(db: Database, signal: AbortSignal): Owner {
    const state = this.#state
    const lent = (library: Library): Library => ({ ...library, db })
    return {
      config: this.#config,
      db,
      isBusy: () => state.uploads.size > 0,
      oneAtATime: (pass) => this.#oneAtATime(pass),
      trouble: state.trouble,
      library: async () => {
        const library = state.library()
        await library.drive.check()
        return lent(library)
      },
      mirrors: (_, onAway) =>
        thoseThere(this.#mirrors, onAway, async (keeper) => {
          const mirror = await keeper.kept()
          return { ...mirror, reader: new DirectReader(mirror.drive) }
        }),
      mirrorStatuses: async (_, replaced) => {
        await this.#mirrors.find(({ folder }) => folder === replaced)?.lookAnew()
        return Promise.all(this.#mirrors.map((mirror) => mirror.status()))
      },
      health: () => state.health(),
      restoring: async (work) => {
        if (this.#isEstablished) return work(async (id) => lent(this.#expectLibrary(await state.opened(signal), id)))
        return this.#establishing.run('', () => this.#restore(db, signal, work))
      },
      restored: async () => lent(await state.opened(signal)),
    }
  }

  #expectLibrary(library: Library, id: string): Library {
    if (library.drive.id === id) return library
    throw new AppError('drive_missing', 'The drive was changed for another one meanwhile. Run the same command again.')
  }

  /** Before the library is established nobody else has it open. */
  async #restore<Result>(
    db: Database,
    signal: AbortSignal,
    work: (open: (id: string) => Promise<Library>) => Promise<Result>,
  ): Promise<Result> {
    signal.throwIfAborted()
    const { libraryFolder } = this.#config
    const found = await readIdentity(libraryFolder)
    const lock = found === undefined ? undefined : await lockLibrary(libraryFolder, found)
    if (found !== undefined && lock === undefined) {
      throw new AppError('busy', `Another iClood server is using the library in ${libraryFolder}. Stop that one first.`)
    }
    try {
      return await work(async (id) => {
        const drive = new Drive(libraryFolder, id, { onMissing: () => {}, onReturned: () => {} })
        return createLibrary(db, drive, { ...this.#config, lostAndUnread, now: () => new Date() })
      })
    } finally {
      await lock?.release()
    }
  }
}
