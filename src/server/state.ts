import { once } from 'node:events'
import type { Library } from '../archive/library.ts'
import { withResolvers } from '../base/resolvers.ts'
import type { Database } from '../catalogue/connection.ts'
import type { Requests } from '../catalogue/requests.ts'
import { AppError } from '../errors.ts'
import type { Health } from '../health/model.ts'
import type { Service } from '../http/service.ts'
import type { LastingFailure } from '../journal/retries.ts'
import type { MirrorStatus } from '../mirror/status.ts'
import type { DataDirSpace } from '../postgres/space.ts'
import { Uploads } from './uploads.ts'

/** The running server as the routes see it: what is there already, and why the rest is not. */
export class ServerState implements Service {
  readonly uploads = new Uploads()
  isStopping = false
  readonly arrived: Service['arrived']
  #database: Database | undefined
  #requests: Requests | undefined
  #library: Library | undefined
  readonly #opened = withResolvers<Library>()
  readonly #watchers: (() => void)[] = []
  #assess: (() => Promise<Health>) | undefined
  #dataDirSpace: DataDirSpace | undefined
  #mirrorStatuses: (() => Promise<MirrorStatus[]>) | undefined
  #journalTrouble: (() => LastingFailure | undefined) | undefined
  #reason = new AppError(
    'database_unavailable',
    'The server is starting and its database is not ready yet. Try again soon.',
  )

  constructor(arrived: Service['arrived'] = () => {}) {
    this.arrived = arrived
  }

  /** The database is there and its schema up to date. */
  setDatabase(database: Database): void {
    this.#database = database
  }

  /** What may take long has connections of its own. */
  setRequests(requests: Requests): void {
    this.#requests = requests
  }

  setLibrary(library: Library): void {
    this.#library = library
    this.#opened.resolve(library)
  }

  /** The library once it is open. Throws the reason of `signal`. */
  async opened(signal: AbortSignal): Promise<Library> {
    const gone = new AbortController()
    const aborted = once(signal, 'abort', { signal: gone.signal }).catch(() => {})
    await Promise.race([this.#opened.promise, signal.aborted || aborted]).finally(() => gone.abort())
    signal.throwIfAborted()
    return this.library()
  }

  /** The database is an embedded one, with a disk that may become full. */
  setDataDirSpace(space: DataDirSpace): void {
    this.#dataDirSpace = space
  }

  async roomForRows(): Promise<void> {
    await this.#dataDirSpace?.check()
  }

  /** How it is found out how the second copies are. */
  setMirrorStatuses(statuses: () => Promise<MirrorStatus[]>): void {
    this.#mirrorStatuses = statuses
  }

  /** `undefined` until it is known. */
  async mirrorStatuses(): Promise<MirrorStatus[] | undefined> {
    return this.#mirrorStatuses?.()
  }

  /** How it is found out what keeps the journal from being written. */
  setJournalTrouble(trouble: () => LastingFailure | undefined): void {
    this.#journalTrouble = trouble
  }

  journalTrouble(): LastingFailure | undefined {
    return this.#journalTrouble?.()
  }

  /** From now on `listener` hears of everything that may be a problem, or the end of one. */
  onTrouble(listener: () => void): void {
    this.#watchers.push(listener)
  }

  /** Something may be a problem, or may be none any more. */
  readonly trouble = (): void => {
    for (const watcher of this.#watchers) watcher()
  }

  /** How it is found out how the backup is. */
  setAssessment(assess: () => Promise<Health>): void {
    this.#assess = assess
  }

  /** Says why the next thing is not there yet. */
  setReason(reason: AppError): void {
    this.#reason = reason
  }

  catalogue(gone?: AbortSignal): Database {
    if (this.#database === undefined) throw this.#reason
    return gone === undefined || this.#requests === undefined ? this.#database : this.#requests.for(gone)
  }

  library(): Library {
    if (this.#library === undefined) throw this.#reason
    return this.#library
  }

  async health(): Promise<Health> {
    if (this.#assess === undefined) throw this.#reason
    return this.#assess()
  }
}
