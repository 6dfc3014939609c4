/*
 * storage/journal/: The journal's files on the drive: written, read, copied. What stands in them is the format's.
 */

import { hasErrno } from '../../errors.ts'
import { type JournalFile, journalFile, journalFiles, outOfReach } from '../../format/journal-files.ts'
import { formatLine } from '../../format/journal-line.ts'
import type { HeaderLine, JournalRecord } from '../../format/journal-record.ts'
import { JOURNAL_FOLDER, type LibraryPath } from '../../format/layout.ts'
import type { Committer } from '../commit.ts'
import { discard } from '../discard.ts'
import type { Drive } from '../drive.ts'
import { driveError } from '../drive-error.ts'
import { StrangeEntry } from '../entry.ts'
import { io } from '../io.ts'
import { quarantine } from '../quarantine.ts'
import { writeAll } from '../write-all.ts'
import { filesOf, listNames } from './reader.ts'

/** A log is not continued beyond this. */
const MAX_LOG_BYTES = 4 * 1024 * 1024
/** Logs of this size are no burden, however small the snapshot is. */
const LOGS_BYTES = 8 * 1024 * 1024
/** Each run of the server begins a log. */
const MAX_LOGS = 64
const BATCH_BYTES = 1024 * 1024
/** A snapshot is flushed as it grows, so that its last flush holds up nobody. */
const FLUSH_BYTES = 16 * 1024 * 1024
const UNFINISHED = '.part'

/** A log that may be continued: all that was ever written to it is durable. */
interface OpenLog {
  readonly file: JournalFile
  size: number
}

/**
 * Writes the journal of the library on `drive`; see docs/drive-format.md. One writer per library. Holds nothing open
 * between calls.
 */
export class JournalWriter {
  readonly #drive: Drive
  readonly #committer: Committer
  readonly #now: () => Date
  /** The files there are, with their bytes; undefined until they have been looked for. */
  #files: Map<JournalFile, number> | undefined
  #looking: Promise<Map<JournalFile, number>> | undefined
  #next = 1
  #log: OpenLog | undefined
  /** What was written last, to be found again when the drive has been away. */
  #last: OpenLog | undefined
  readonly #onPutAside: (path: string, place: string) => void
  readonly #beforePuttingAside: () => Promise<unknown>

  /**
   * `committer` is that of the drive. `onPutAside` hears of files that were moved to quarantine, since no number would
   * have come after theirs, with their places there. They may have held what the others don't, so a snapshot is due
   * then: `beforePuttingAside` takes note of that, durably.
   */
  constructor(
    drive: Drive,
    committer: Committer,
    now: () => Date,
    onPutAside: (path: string, place: string) => void = () => {},
    beforePuttingAside: () => Promise<unknown> = async () => {},
  ) {
    this.#drive = drive
    this.#committer = committer
    this.#now = now
    this.#onPutAside = onPutAside
    this.#beforePuttingAside = beforePuttingAside
  }

  /** Call it when the drive has come back: what is on it is looked for again. */
  forget(): void {
    this.#files = undefined
    this.#log = undefined
  }

  /**
   * Whether a snapshot is due: there is no journal, its logs have outgrown it, or it is not as this writer left it
   * (another copy of the drive has come back). Throws `drive_missing`, `drive_error`.
   */
  async needsSnapshot(): Promise<boolean> {
    const files = await this.#open()
    const last = this.#last
    if (
      last !== undefined &&
      !sizesOf(files, ({ path }) => path === last.file.path).some((size) => size >= last.size)
    ) {
      return true
    }
    const snapshot = [...files.keys()].findLast(({ kind }) => kind === 'snapshot')
    const logs = sizesOf(files, (file) => file.kind === 'log' && file.number >= (snapshot?.number ?? 0))
    const snapshotBytes = snapshot === undefined ? 0 : (files.get(snapshot) ?? 0)
    return files.size === 0 || logs.length > MAX_LOGS || sum(logs) > Math.max(LOGS_BYTES, snapshotBytes)
  }

  /**
   * Appends records to the newest log, durably, with one write and one flush. If it throws (`drive_missing`,
   * `drive_error`, `disk_full`) none of them counts as written: they have to be appended again, and will go to a new
   * log.
   */
  async append(records: readonly JournalRecord[]): Promise<void> {
    const files = await this.#open()
    const text = records.map(formatLine).join('')
    if (this.#log !== undefined && this.#log.size + text.length > MAX_LOG_BYTES) this.#log = undefined
    const log = this.#log
    try {
      const written = log !== undefined && (await this.#continue(log, text)) ? log : await this.#begin(text)
      files.set(written.file, written.size)
      this.#last = { ...written }
    } catch (error) {
      // What has become of its last lines is not known, and a second flush would only seem to succeed.
      if (this.#log === log) this.#log = undefined
      // Somebody has put a file in the place of the next one, and perhaps others behind it.
      if (hasErrno(error, 'EEXIST')) this.#files = undefined
      throw driveError(error, 'the journal was being written')
    }
  }

  /** Returns `false`, with nothing done, if the log is not what it was. */
  async #continue(log: OpenLog, text: string): Promise<boolean> {
    const found = await this.#openLog(log)
    if (found === undefined) return false
    const bytes = Buffer.from(text)
    try {
      if (found.size !== log.size) return false
      await writeAll(found.file, [bytes], log.size)
      await io.datasync(found.file)
    } finally {
      await io.close(found.file)
    }
    log.size += bytes.byteLength
    return true
  }

  /** `undefined` if it is gone, or is not this writer's alone: then it is not written to. */
  async #openLog({ file }: OpenLog): Promise<{ file: number; size: number } | undefined> {
    try {
      return await io.openOwn(this.#drive.at(file.path))
    } catch (error) {
      if (hasErrno(error, 'ENOENT') || error instanceof StrangeEntry) return undefined
      throw error
    }
  }

  async #begin(text: string): Promise<OpenLog> {
    const bytes = Buffer.from(formatLine(this.#header('log')) + text)
    const log: OpenLog = { file: journalFile(this.#next++, 'log'), size: bytes.byteLength }
    // Now: when this is done, a snapshot may have begun and ended it.
    this.#log = log
    try {
      await this.#committer.create(log.file.path, bytes)
    } catch (error) {
      if (this.#log === log) this.#log = undefined
      throw error
    }
    return log
  }

  /**
   * Writes a snapshot of the records that `pages` yields and removes the files that it replaces. What is appended from
   * this call on counts as later than the snapshot, so `pages` must begin to read after it. Throws what `append` and
   * `pages` throw, with nothing replaced.
   */
  async writeSnapshot(pages: AsyncIterable<readonly JournalRecord[]>): Promise<void> {
    const files = await this.#open()
    const snapshot = journalFile(this.#next++, 'snapshot')
    this.#log = undefined
    try {
      let size = 0
      await this.#committer.write(snapshot.path as LibraryPath, snapshot.path + UNFINISHED, async (file) => {
        size = await this.#fill(file, pages)
      })
      files.set(snapshot, size)
      this.#last = { file: snapshot, size }
    } catch (error) {
      throw driveError(error, 'a snapshot of the journal was being written')
    }
    for (const file of [...files.keys()].filter(({ number }) => number < snapshot.number)) {
      await discard(this.#drive.at(file.path))
      files.delete(file)
    }
  }

  /** Returns its size. */
  async #fill(file: number, pages: AsyncIterable<readonly JournalRecord[]>): Promise<number> {
    let batch = [Buffer.from(formatLine(this.#header('snapshot')))]
    let gathered = 0
    let lines = 0
    let size = 0
    let flushed = 0
    const write = async () => {
      await writeAll(file, batch, size)
      size += batch.reduce((bytes, piece) => bytes + piece.byteLength, 0)
      batch = []
      gathered = 0
      if (size - flushed < FLUSH_BYTES) return
      await io.datasync(file)
      flushed = size
    }
    for await (const page of pages) {
      const bytes = Buffer.from(page.map(formatLine).join(''))
      lines += page.length
      batch.push(bytes)
      gathered += bytes.byteLength
      if (gathered >= BATCH_BYTES) await write()
    }
    batch.push(Buffer.from(formatLine({ type: 'end', lines })))
    await write()
    return size
  }

  #header(kind: JournalFile['kind']): HeaderLine {
    return { type: 'header', format: 1, library: this.#drive.id, kind, created: this.#now().toISOString() }
  }

  /**
   * Looks for the journal once: numbers go on after the highest there, and logs of earlier runs are left as they are.
   */
  async #open(): Promise<Map<JournalFile, number>> {
    await this.#drive.checkTouched()
    if (this.#files !== undefined) return this.#files
    // A snapshot and what is appended beside it look at the same time.
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  async #look(): Promise<Map<JournalFile, number>> {
    const names = await listNames(this.#drive.files)
    for (const name of names.filter(isUnfinished)) await discard(this.#drive.at(`${JOURNAL_FOLDER}/${name}`))
    const all = await this.#withinReach(journalFiles(names))
    const files = new Map<JournalFile, number>()
    try {
      // Of another library's files only the numbers count.
      for (const file of await filesOf(this.#drive.files, all, [this.#drive.id])) {
        const found = await io.lstat(this.#drive.at(file.path))
        if (found.isFile()) files.set(file, Number(found.size))
      }
    } catch (error) {
      throw driveError(error, 'its journal was being looked at')
    }
    this.#next = Math.max(this.#next, (all.at(-1)?.number ?? 0) + 1)
    this.#files = files
    return files
  }

  /**
   * Those of `files` after which numbers can go on. The others are moved to quarantine, whatever they are: the
   * catalogue knows all that they may say, and so does the snapshot that is due then.
   */
  async #withinReach(files: readonly JournalFile[]): Promise<JournalFile[]> {
    const far = outOfReach(files)
    if (far.length > 0) await this.#beforePuttingAside()
    // The last one first: what is left is at any moment the journal of an earlier time.
    for (const { path } of far.toReversed()) {
      this.#next = 1
      this.#onPutAside(path, await quarantine(this.#drive, path as LibraryPath, this.#now()))
    }
    return files.slice(0, files.length - far.length)
  }
}

/** Whether a file of that name is a snapshot that was never finished. */
function isUnfinished(name: string): boolean {
  return name.endsWith(UNFINISHED) && journalFiles([name.slice(0, -UNFINISHED.length)]).length > 0
}

function sizesOf(files: ReadonlyMap<JournalFile, number>, isWanted: (file: JournalFile) => boolean): number[] {
  return [...files].flatMap(([file, size]) => (isWanted(file) ? [size] : []))
}

function sum(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total + size, 0)
}
