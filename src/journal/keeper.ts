/*
 * journal/: The drive describes itself: journal and SHA256SUMS follow the catalogue's outbox.
 */

import { setImmediate } from 'node:timers/promises'
import type { Library } from '../archive/library.ts'
import { rest } from '../base/bell.ts'
import { KeyedLock } from '../base/keyed-lock.ts'
import { Patience } from '../base/patience.ts'
import { allRecords } from '../catalogue/journal-rows.ts'
import {
  type DoubtfulSums,
  listDoubtfulSums,
  listNews,
  lookIntoOutbox,
  type News,
  oweSnapshot,
  settleNews,
} from '../catalogue/outbox.ts'
import type { AppError } from '../errors.ts'
import type { JournalRecord } from '../format/journal-record.ts'
import { JournalWriter } from '../storage/journal/writer.ts'
import { readChanged } from './records.ts'
import { type LastingFailure, type Log, Retries } from './retries.ts'
import { monthsOf, SumsKeeper } from './sums-keeper.ts'

/** How often the outbox is looked into; what has come until then is written together. The promise is five seconds. */
export const LOOK_MS = 2_000
/** How long a page of a snapshot gives way to uploads: it has to come to an end under any load. */
export const AT_MOST_MS = 500
/** Rows read and written at a stretch. */
const PORTION = 1_000
/** Months whose sums are compared before it is looked for new lines again. */
const MONTHS = 10
/** What a stop may take to write down the rest. The next start goes on with it. */
const CLOSE_MS = 5_000

export interface KeeperOptions {
  /** Whether uploads are under way. */
  isBusy: () => boolean
  log: Log
  /** Hears of what has changed, before it is written down; of some of it more than once. */
  follow?: (news: News) => void
}

/**
 * Keeps the drive's description of itself, the journal and the SHA256SUMS, in step with the catalogue: writes down what
 * is in the outbox, flushes it, and only then takes it out. So a line may stand there twice, and none is ever missing.
 * Between its queries it holds nothing of the database, however long the drive takes. Whatever fails is tried again,
 * and nobody waits for it.
 */
export class JournalKeeper {
  readonly #library: Library
  readonly #log: Log
  readonly #follow: (news: News) => void
  readonly #patience: Patience
  readonly #journal: JournalWriter
  readonly #sums: SumsKeeper
  readonly #lines: Retries
  readonly #snapshots: Retries
  readonly #closing = new AbortController()
  /** One at a time writes, or looks at what is written. */
  readonly #turn = new KeyedLock()
  /** Once it is being closed, the time until which it may go on. */
  #deadline: AbortSignal | undefined
  /** Up to which row of the outbox all has been tried, and when that is tried again. */
  #tried = 0
  #retryAt = 0
  /** Whether the journal's files may ask for a snapshot; when one is tried again. */
  #mayBeDue = true
  #snapshotAt = 0
  #snapshot: Promise<void> | undefined
  #running: Promise<void> | undefined
  #closed: Promise<void> | undefined

  constructor(library: Library, { isBusy, log, follow = () => {} }: KeeperOptions) {
    this.#library = library
    this.#log = log
    this.#follow = follow
    this.#patience = new Patience(isBusy, { patienceMs: 0, atMostMs: AT_MOST_MS })
    const tell = (path: string, place: string) => {
      const message = 'a file of the journal had a number that no server comes to; it lies in quarantine now'
      log.warn({ path, place }, message)
    }
    const { db, drive, committer, now } = library
    this.#journal = new JournalWriter(drive, committer, now, tell, () => oweSnapshot(db))
    this.#sums = new SumsKeeper(library)
    this.#lines = new Retries(log, 'the journal on the drive')
    this.#snapshots = new Retries(log, 'a new snapshot of the journal')
  }

  /** What keeps the drive from learning of its originals, if that is so for longer; the drive itself is there. */
  get trouble(): LastingFailure | undefined {
    return this.#lines.lasting ?? this.#snapshots.lasting
  }

  /** From now on it writes, until it is closed. */
  start(): void {
    this.#running ??= this.#run()
  }

  /** Forgets what was learnt about the drive; call it when that has come back. */
  forget(): void {
    this.#journal.forget()
    this.#sums.forget()
    this.#mayBeDue = true
    this.#retryAt = this.#snapshotAt = 0
  }

  /** Writes down what is left, as far as it can be. Call it when nothing changes any more. Idempotent; never throws. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#deadline = AbortSignal.timeout(CLOSE_MS)
    this.#closing.abort()
    // That was never started whose drive was not there.
    if (this.#running === undefined) return
    await this.#running
    this.#retryAt = this.#snapshotAt = 0
    await this.#look()
    await this.#snapshot
  }

  /** See `Library`. */
  readonly describe: Library['describe'] = (look) =>
    this.#turn.run('', async () => {
      if (this.#running !== undefined) await this.#lookIn()
      return look(this.#running !== undefined && this.#lines.delay === undefined)
    })

  async #run(): Promise<void> {
    const { signal } = this.#closing
    while (!signal.aborted) {
      await this.#look()
      await rest(LOOK_MS, signal)
    }
  }

  async #look(): Promise<void> {
    await this.#turn.run('', () => this.#lookIn())
  }

  /** Writes what is new, unless all of it was tried in vain a moment ago, and begins the snapshot that is owed. */
  async #lookIn(): Promise<void> {
    const { db } = this.#library
    try {
      const { newest, snapshot } = await lookIntoOutbox(db)
      this.#startSnapshot(snapshot)
      if ((newest ?? 0) <= this.#tried && performance.now() < this.#retryAt) return
      if (this.#mayBeDue && snapshot.length === 0) {
        // Before anything is written: what tells that it is due does not outlive that.
        if (await this.#journal.needsSnapshot()) this.#startSnapshot([await oweSnapshot(db)])
        this.#mayBeDue = false
      }
      if (newest !== null) {
        await this.#library.drive.check()
        await this.#write(newest)
      }
      this.#lines.succeeded()
      this.#retryAt = 0
    } catch (error) {
      if (this.#isGivenUp()) return
      this.#lines.failed(error)
      this.#retryAt = performance.now() + (this.#lines.delay ?? 0)
    }
  }

  /** Writes down what has changed up to the row `newest`; then throws the first reason why some of it could not be. */
  async #write(newest: number): Promise<void> {
    this.#tried = newest
    await this.#writeLines(newest)
    const { newest: last } = await lookIntoOutbox(this.#library.db)
    let failure: AppError | undefined
    for (let after = 0; last !== null; ) {
      const doubtful = await listDoubtfulSums(this.#library.db, after, last, MONTHS)
      if (doubtful.length === 0) break
      await this.#giveWay()
      for (const one of doubtful) {
        const reason = await this.#compareSums(one)
        failure ??= reason
        after = Math.max(after, ...one.seqs)
      }
      const { newest: latest } = await lookIntoOutbox(this.#library.db)
      if (latest !== null && latest > last) await this.#writeLines(latest)
    }
    if (failure !== undefined) throw failure
  }

  async #writeLines(newest: number): Promise<void> {
    const { db } = this.#library
    for (let after = 0; ; ) {
      const news = await listNews(db, after, newest, PORTION)
      if (news === undefined) return
      this.#follow(news)
      const { records, originals, gone } = await readChanged(db, news)
      if (records.length > 0) await this.#journal.append(records)
      this.#mayBeDue = true
      const doubtful = [...(await this.#sums.add(originals)), ...monthsOf(gone)]
      await settleNews(db, news.seqs, doubtful)
      after = Math.max(...news.seqs)
      this.#deadline?.throwIfAborted()
      await setImmediate()
    }
  }

  /** Returns why it could not be done, if it may be tried again with the others going on. */
  async #compareSums({ folder, seqs }: DoubtfulSums): Promise<AppError | undefined> {
    const failure = await this.#sums.repair(folder)
    if (failure === undefined) await settleNews(this.#library.db, seqs)
    return failure
  }

  #startSnapshot(owed: readonly number[]): void {
    if (owed.length === 0 || performance.now() < this.#snapshotAt) return
    this.#snapshot ??= this.#writeSnapshot(owed).finally(() => {
      this.#snapshot = undefined
    })
  }

  async #writeSnapshot(owed: readonly number[]): Promise<void> {
    try {
      await this.#journal.writeSnapshot(this.#everything())
      await settleNews(this.#library.db, owed)
      this.#snapshots.succeeded()
    } catch (error) {
      if (this.#isGivenUp()) return
      this.#snapshots.failed(error)
      this.#snapshotAt = performance.now() + (this.#snapshots.delay ?? 0)
    }
  }

  async *#everything(): AsyncGenerator<JournalRecord[]> {
    for await (const page of allRecords(this.#library.db)) {
      yield page
      await this.#giveWay()
    }
  }

  /** Lets uploads go first, but not when the server has no time left. */
  async #giveWay(): Promise<void> {
    this.#deadline?.throwIfAborted()
    if (this.#deadline === undefined) await this.#patience.giveWay(NEVER)
  }

  #isGivenUp(): boolean {
    if (this.#deadline?.aborted !== true) return false
    this.#log.info('the journal is not complete yet; the next start goes on with it')
    return true
  }
}

/** A piece of work that has begun to rest goes on, whatever happens. */
const NEVER = new AbortController().signal
