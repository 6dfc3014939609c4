/*
 * control/: What a person asks for beside the API: to verify everything now.
 */

import type { Library } from '../archive/library.ts'
import { inPortions, workThrough } from '../base/work-through.ts'
import { type Finding, findFindings } from '../catalogue/findings.ts'
import { LIBRARY } from '../catalogue/places.ts'
import {
  countSelected,
  listSelected,
  type Provable,
  type Proven,
  recordVerified,
  type Selection,
} from '../catalogue/verification.ts'
import { parseLibraryPath } from '../format/layout.ts'
import { compareFolders } from '../mirror/compare-folders.ts'
import type { Mirror } from '../mirror/mirror.ts'
import { verifyCopies } from '../mirror/verify-copies.ts'
import { versionOf } from '../storage/originals.ts'
import { type WalkOptions, walkFolders } from '../verify/folders.ts'
import { healFromUnknown } from '../verify/heal.ts'
import { partOf } from '../verify/part-of.ts'
import { examine, healed, type Outcome, readBack } from '../verify/verify-original.ts'

/** How far a pass has come. */
export interface PassProgress {
  files: number
  totalFiles: number
  bytes: number
  totalBytes: number
}

export interface PassOptions {
  selection: Selection
  /**
   * Whether a server is at work, which keeps each folder's SHA256SUMS right, and whether all of them should be
   * complete.
   */
  isServed: boolean
  isKept: boolean
  /** Where the second copy is, if that is to be read back as well. */
  mirror?: { copies: Mirror; canRepair: boolean } | undefined
  /** Hears of the progress often. */
  report: (progress: PassProgress) => void
  /** Ends the pass, which keeps what it has proven, and throws the signal's reason. */
  signal: AbortSignal
}

/** What a pass has come to. */
export interface PassReport {
  files: number
  bytes: number
  seconds: number
  /** What it has found, healed or not, in the order of their paths. */
  findings: Finding[]
  /** Whether it has changed what the catalogue knows of originals, beside when they were read. */
  hasChanged: boolean
}

/** Originals asked of the catalogue at a time, and recorded in one statement. */
const PORTION = 500
const RECORD_MS = 2_000
/** Files read at a time, as far as the reader has memory for them. */
const READERS = 6

/**
 * Reads the selected originals back from the drive, as fast as that goes, compares them with the catalogue, and the
 * folders with it; sees to what follows (`verifyOriginal`). Works beside a server. Throws `drive_missing`,
 * `database_unavailable`, and `drive_error` for what is wrong with more than a file.
 */
export async function verifyLibrary(library: Library, options: PassOptions): Promise<PassReport> {
  const pass = new Pass(library, options)
  await pass.readAll()
  await pass.compareFolders()
  await pass.readCopies()
  return pass.finish()
}

class Pass {
  readonly #library: Library
  readonly #options: PassOptions
  readonly #beganAt = performance.now()
  readonly #findings = new Set<number>()
  readonly #progress: PassProgress = { files: 0, totalFiles: 0, bytes: 0, totalBytes: 0 }
  #seconds = 0
  #proven: Proven[] = []
  #recordedAt = performance.now()
  /** Originals that this pass was the first to read. */
  readonly #new = new Set<string>()

  constructor(library: Library, options: PassOptions) {
    this.#library = library
    this.#options = options
  }

  readonly #pause = async (bytes = 0): Promise<void> => {
    this.#options.signal.throwIfAborted()
    this.#progress.bytes += bytes
    this.#options.report(this.#progress)
  }

  async readAll(): Promise<void> {
    const { db } = this.#library
    await this.#library.drive.check()
    const { selection, mirror } = this.#options
    const total = await countSelected(db, LIBRARY, selection)
    const copies =
      mirror === undefined ? { files: 0, bytes: 0 } : await countSelected(db, mirror.copies.place, selection)
    this.#progress.totalFiles = total.files + copies.files
    this.#progress.totalBytes = total.bytes + copies.bytes
    const originals = inPortions<Provable>((last) => listSelected(db, LIBRARY, selection, last?.path ?? '', PORTION))
    try {
      await workThrough(originals, READERS, async (original) => {
        await this.#pause()
        await this.#read(original)
      })
    } finally {
      this.#seconds = (performance.now() - this.#beganAt) / 1000
      await this.#record()
    }
  }

  async #read(original: Provable): Promise<void> {
    const path = parseLibraryPath(original.path)
    const outcome =
      (await examine(this.#library, original, this.#pause)) ??
      // Somebody has changed its state since it was listed.
      (await readBack(this.#library, path, this.#pause))
    if (original.checksum === null) this.#new.add(path)
    if (outcome !== undefined) await this.#conclude(original, outcome)
    this.#progress.files++
    this.#options.report(this.#progress)
  }

  async #conclude(original: Provable, outcome: Outcome): Promise<void> {
    if (outcome.state !== 'intact') {
      this.#findings.add(outcome.finding)
      await healed(this.#library, parseLibraryPath(original.path), outcome, this.#pause)
      return
    }
    this.#proven.push({ path: original.path, ...outcome })
    const isTime = performance.now() - this.#recordedAt > RECORD_MS
    if (this.#proven.length >= PORTION || isTime) await this.#record()
  }

  async #record(): Promise<void> {
    const proven = this.#proven
    this.#proven = []
    this.#recordedAt = performance.now()
    await recordVerified(this.#library.db, LIBRARY, proven)
  }

  /** Finds what lies in the folders and is unknown, and puts back from there what is lost. */
  async compareFolders(): Promise<void> {
    const { signal, selection, isServed, isKept } = this.#options
    const walk = await walkFolders(this.#library, {
      ...walkOf(selection),
      isServed,
      mayLackSum: (path) => !isKept || this.#new.has(path),
      pause: () => this.#pause(),
      signal,
    })
    for (const id of walk.findings) this.#findings.add(id)
    await healFromUnknown(this.#library, walk.unknown, this.#options.selection, () => this.#pause())
  }

  /** The copies last: what was wrong with the library is healed from them, and they from it. */
  async readCopies(): Promise<void> {
    const { mirror, selection, signal, report } = this.#options
    if (mirror === undefined) return
    const { copies, canRepair } = mirror
    const beganAt = performance.now()
    const done = () => {
      this.#progress.files++
      report(this.#progress)
    }
    const pause = this.#pause
    for (const id of await verifyCopies(copies, selection, { pause, done })) this.#findings.add(id)
    this.#seconds += (performance.now() - beganAt) / 1000
    const options = { ...walkOf(selection), canRepair, pause, signal }
    for (const id of await compareFolders(copies, options)) this.#findings.add(id)
  }

  async finish(): Promise<PassReport> {
    const findings = await findFindings(this.#library.db, [...this.#findings])
    const { files, bytes } = this.#progress
    return { files, bytes, seconds: this.#seconds, findings, hasChanged: findings.length > 0 || this.#new.size > 0 }
  }
}

/** Whether the catalogue or the drive has anything at this path (a folder's or a file's), or below it. */
export async function hasAnything(library: Library, path: string): Promise<boolean> {
  const [first] = await listSelected(library.db, LIBRARY, { under: path }, '', 1)
  return first !== undefined || (await versionOf(library.drive, parseLibraryPath(path))) !== undefined
}

/** The folders that have what is selected. */
function walkOf({ part, under }: Selection): Pick<WalkOptions, 'isSelected' | 'isWithin'> {
  return {
    isSelected: (path) =>
      (part === undefined || partOf(path, part.of) === part.number) &&
      (under === undefined || path === under || path.startsWith(`${under}/`)),
    isWithin: (folder) =>
      under === undefined || folder === under || folder.startsWith(`${under}/`) || under.startsWith(`${folder}/`),
  }
}
