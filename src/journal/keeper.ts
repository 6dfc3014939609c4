/*
 * journal/: The drive describes itself: journal and SHA256SUMS follow the catalogue.
 */

import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import type { NoteChange } from '../archive/changes.ts'
import type { Library } from '../archive/library.ts'
import type { Database } from '../catalogue/connection.ts'
import { allRecords } from '../catalogue/journal-rows.ts'
import { beginJournal, completeJournal } from '../catalogue/library.ts'
import type { JournalRecord } from '../format/journal-record.ts'
import { JournalWriter } from '../storage/journal/writer.ts'
import { hearLeftChanges } from './left-changes.ts'
import { PendingChanges } from './pending.ts'
import { readNews } from './records.ts'
import { type LastingFailure, type Log, Retries } from './retries.ts'
import { SumsKeeper } from './sums-keeper.ts'

/** From a change until it is written down, together with all that have come since; the promise is five seconds. */
export const GATHER_MS = 2_000
/** Rows read and written at a stretch. */
const PORTION = 1_000
/** How long a page of a snapshot gives way to uploads: it has to come to an end under any load. */
export const PATIENCE_MS = 500
const PATIENCE_STEP_MS = 50
/** How often it is looked for what commands have changed. */
const LISTEN_MS = 2_000
/** What a stop may take to complete the drive's description of itself. The next start does what is left. */
const CLOSE_MS = 20_000

/** What the keeper works with once the library is there. */
interface Opened {
  library: Library
  journal: JournalWriter
  sums: SumsKeeper
  /** Whether uploads are under way. */
  isBusy: () => boolean
  /** Whether the drive may have originals that the catalogue does not. */
  mayHaveStrangers: () => boolean
}

/**
 * Keeps the drive's description of itself, the journal and the SHA256SUMS, in step with the catalogue. It hears of
 * changes from the moment the database is there, and writes from the moment the library is `open`. Whatever fails is
 * tried again, and nobody waits for it.
 */
export class JournalKeeper {
  /** Whether the journal had everything when the server was started, as it has after a clean stop. */
  readonly wasComplete: boolean
  readonly #db: Database
  readonly #log: Log
  readonly #pending = new PendingChanges()
  readonly #closing = new AbortController()
  readonly #givenUp = new AbortController()
  #opened: Opened | undefined
  /** Whether the journal may lack more than what is pending, and the sums likewise. */
  #owesSnapshot: boolean
  #owesSums: boolean
  #timer: { due: number; timer: NodeJS.Timeout } | undefined
  #flushing: Promise<void> | undefined
  #catchingUp: Promise<void> | undefined
  #listening: Promise<void> | undefined
  #closed: Promise<void> | undefined
  readonly #flushes: Retries
  readonly #catchUps: Retries
  readonly #hearings: Retries

  private constructor(db: Database, wasComplete: boolean, log: Log) {
    this.#db = db
    this.#log = log
    this.#flushes = new Retries(log, 'the journal on the drive')
    this.#catchUps = new Retries(log, 'a new snapshot of the journal')
    this.#hearings = new Retries(log, 'what commands have changed')
    this.wasComplete = wasComplete
    this.#owesSnapshot = !wasComplete
    this.#owesSums = !wasComplete
  }

  /** Call it before anything changes in the catalogue. Throws `database_unavailable`. */
  static async create(db: Database, log: Log): Promise<JournalKeeper> {
    return new JournalKeeper(db, await beginJournal(db), log)
  }

  /** What keeps the drive from learning of its originals, if that is so for longer; the drive itself is there. */
  get trouble(): LastingFailure | undefined {
    return this.#flushes.lasting ?? this.#catchUps.lasting
  }

  readonly note: NoteChange = (change) => {
    if (change.unsure || !this.#pending.add(change)) this.#owesSnapshot = this.#owesSums = true
    this.#flushWithin(GATHER_MS)
  }

  /** From now on the drive of `library` is written to. */
  open(library: Library, isBusy: () => boolean, mayHaveStrangers: () => boolean): void {
    const journal = new JournalWriter(library.drive, library.committer, library.now, (path, place) =>
      this.#log.warn(
        { path, place },
        'a file of the journal had a number that no server comes to; it lies in quarantine now',
      ),
    )
    this.#opened = { library, journal, sums: new SumsKeeper(library), isBusy, mayHaveStrangers }
    this.#catchUp(this.#opened)
    if (this.#pending.size > 0) this.#flushWithin(GATHER_MS)
    this.#listening = this.#listen(library)
  }

  /** Looks for what commands have changed. */
  async #listen(library: Library): Promise<void> {
    while (!this.#closing.signal.aborted) {
      await hearLeftChanges(library).then(
        () => this.#hearings.succeeded(),
        (error: unknown) => this.#hearings.failed(error),
      )
      await sleep(LISTEN_MS, undefined, { signal: this.#closing.signal, ref: false }).catch(() => {})
    }
  }

  /** Forgets what was learnt about the drive; call it when that has come back. */
  forget(): void {
    if (this.#opened === undefined) return
    this.#opened.journal.forget()
    this.#opened.sums.forget()
    this.#catchUp(this.#opened)
    this.#flushWithin(0)
  }

  #flushWithin(ms: number): void {
    const due = performance.now() + ms
    if (this.#opened === undefined || this.#closing.signal.aborted || this.#flushing !== undefined) return
    if (this.#timer !== undefined && this.#timer.due <= due) return
    clearTimeout(this.#timer?.timer)
    const opened = this.#opened
    this.#timer = { due, timer: setTimeout(() => this.#startFlush(opened), ms) }
  }

  #startFlush(opened: Opened): void {
    this.#timer = undefined
    this.#flushing = this.#flushPatiently(opened).finally(() => {
      this.#flushing = undefined
      const delay = this.#flushes.delay
      if (delay !== undefined || this.#pending.size > 0) this.#flushWithin(delay ?? GATHER_MS)
    })
  }

  async #flushPatiently(opened: Opened): Promise<void> {
    try {
      await this.#flush(opened)
      this.#flushes.succeeded()
      if (this.#owesSnapshot || (await opened.journal.needsSnapshot())) this.#catchUp(opened)
    } catch (error) {
      this.#flushes.failed(error)
    }
  }

  /** Writes down all that is pending. */
  async #flush({ journal, sums }: Opened): Promise<void> {
    for (let portion = this.#pending.take(PORTION); portion !== undefined; portion = this.#pending.take(PORTION)) {
      try {
        const news = await readNews(this.#db, portion)
        if (news.records.length > 0) await journal.append(news.records)
        await sums.add(news.originals)
        sums.remove(news.gone)
        sums.doubt(portion.sums)
      } catch (error) {
        this.note(portion)
        throw error
      }
      await setImmediate()
    }
    await sums.repair()
  }

  /** Does in the background, if it is not doing so already, what is owed. */
  #catchUp(opened: Opened): void {
    if (this.#catchingUp !== undefined || this.#closing.signal.aborted) return
    this.#catchingUp = this.#catchUpPatiently(opened).finally(() => {
      this.#catchingUp = undefined
    })
  }

  async #catchUpPatiently(opened: Opened): Promise<void> {
    while (!this.#closing.signal.aborted) {
      try {
        if (await opened.journal.needsSnapshot()) this.#owesSnapshot = true
        await this.#payOff(opened)
        return this.#catchUps.succeeded()
      } catch (error) {
        this.#catchUps.failed(error)
      }
      await sleep(this.#catchUps.delay, undefined, { signal: this.#closing.signal }).catch(() => {})
    }
  }

  async #payOff(opened: Opened): Promise<void> {
    const pause = () => this.#giveWay(opened)
    while (this.#owesSnapshot) {
      this.#owesSnapshot = false
      await opened.journal.writeSnapshot(this.#everything(pause)).catch((error: unknown) => {
        this.#owesSnapshot = true
        throw error
      })
    }
    while (this.#owesSums) {
      this.#owesSums = false
      await opened.sums.repairAll(pause).catch((error: unknown) => {
        this.#owesSums = true
        throw error
      })
      if (!opened.sums.isDone) this.#flushWithin(GATHER_MS)
    }
  }

  async *#everything(pause: () => Promise<void>): AsyncGenerator<JournalRecord[]> {
    for await (const page of allRecords(this.#db)) {
      yield page
      await pause()
    }
  }

  async #giveWay({ isBusy }: Opened): Promise<void> {
    this.#givenUp.signal.throwIfAborted()
    await setImmediate()
    for (
      let waited = 0;
      waited < PATIENCE_MS && isBusy() && !this.#closing.signal.aborted;
      waited += PATIENCE_STEP_MS
    ) {
      await sleep(PATIENCE_STEP_MS)
    }
  }

  /**
   * Writes down what is pending and owed, and says in the catalogue that the drive knows everything, if that has come
   * about. Call it when nothing changes the catalogue any more. Idempotent; never throws.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#closing.abort()
    clearTimeout(this.#timer?.timer)
    const deadline = setTimeout(() => this.#givenUp.abort(), CLOSE_MS)
    try {
      await Promise.all([this.#listening, this.#flushing, this.#catchingUp])
      const opened = this.#opened
      if (opened !== undefined) {
        await hearLeftChanges(opened.library)
        await this.#flush(opened)
        await this.#payOff(opened)
        await opened.sums.repair()
      }
      const isComplete = this.#pending.size === 0 && !this.#owesSnapshot && !this.#owesSums
      // An upload that has outlived its time may still be recorded; the next start looks for what nobody has recorded.
      if (isComplete && !opened?.isBusy() && !opened?.mayHaveStrangers()) await completeJournal(this.#db)
    } catch (error) {
      if (this.#givenUp.signal.aborted)
        this.#log.info('the journal is not complete yet; the next start goes on with it')
      else this.#log.warn({ err: error }, 'the journal could not be completed; the next start will do that')
    } finally {
      clearTimeout(deadline)
    }
  }
}
