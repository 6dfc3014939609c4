import { resolve, sep } from 'node:path'
import Type, { type Static } from 'typebox'
import { type Library, withOwnReader } from '../archive/library.ts'
import { KeyedLock } from '../base/keyed-lock.ts'
import { Patience } from '../base/patience.ts'
import { inPortions, workThrough } from '../base/work-through.ts'
import { findFindings } from '../catalogue/findings.ts'
import { LIBRARY } from '../catalogue/places.ts'
import {
  countSelected,
  listSelected,
  type Provable,
  type Proven,
  recordVerified,
  type Selection,
} from '../catalogue/verification.ts'
import { AppError } from '../errors.ts'
import { parseLibraryPath } from '../format/layout.ts'
import { compareFolders } from '../mirror/compare-folders.ts'
import type { Mirror } from '../mirror/mirror.ts'
import { verifyCopies } from '../mirror/verify-copies.ts'
import { versionOf } from '../storage/originals.ts'
import { type WalkOptions, walkFolders } from '../verify/folders.ts'
import { healFromUnknown } from '../verify/heal.ts'
import { partOf } from '../verify/part-of.ts'
import { examine, healed, type Outcome, readBack } from '../verify/verify-original.ts'
import { type Found, foundOf } from './found.ts'
import type { Owner, Told } from './owner.ts'

/** Which originals; at most one of these, none: all. */
export const VerifyAsked = Type.Object({
  /** Those stored within so many milliseconds. */
  since: Type.Optional(Type.Integer({ minimum: 0 })),
  subset: Type.Optional(Type.Object({ number: Type.Integer({ minimum: 1 }), of: Type.Integer({ minimum: 1 }) })),
  /** What lies in this folder of the library, or this file; absolute or relative to the library. */
  path: Type.Optional(Type.String()),
})

/** How far a pass has come. */
export interface PassProgress {
  files: number
  totalFiles: number
  bytes: number
  totalBytes: number
}

/** What a pass has come to. */
export interface PassReport {
  files: number
  bytes: number
  seconds: number
  /** What it has found, healed or not, in the order of their paths. */
  findings: Found[]
}

/** Originals asked of the catalogue at a time, and recorded in one statement. */
const PORTION = 500
const RECORD_MS = 2_000
/** Files read at a time, as far as the reader has memory for them. */
const READERS = 6

/** While uploads are under way this much is read at a time, and a moment is left to them after each. */
const UPLOADS_FIRST = { bytes: 1024 * 1024, patienceMs: 0, atMostMs: 50 }

/**
 * Reads the selected originals back from the drive, as fast as that goes, compares them with the catalogue, and the
 * folders with it; sees to what follows (`verifyOriginal`); then the same with the second copy. Ended by `signal`, it
 * keeps what it has proven, and throws the signal's reason. Throws `drive_missing`, `database_unavailable`,
 * `drive_error` for what is wrong with more than a file, `invalid_request` for a path where nothing is.
 */
export async function verify(
  owner: Owner,
  asked: Static<typeof VerifyAsked>,
  told: Told<PassProgress>,
  signal: AbortSignal,
): Promise<PassReport> {
  const library = withOwnReader(await owner.library())
  const selection = await selectionOf(library, asked)
  return owner.oneAtATime(() => verifySelected(owner, library, selection, told, signal))
}

async function verifySelected(
  owner: Owner,
  library: Library,
  selection: Selection,
  told: Told<PassProgress>,
  signal: AbortSignal,
): Promise<PassReport> {
  const mirrors = await owner.mirrors(library, ({ message }) => {
    told.say(`The second copy is not read back: ${message}`)
  })
  const pass = new Pass(library, mirrors, selection, owner.isBusy, told.progress, signal)
  try {
    await pass.readAll()
    await pass.compareFolders()
    await pass.readMirrors()
    return await pass.finish()
  } finally {
    owner.trouble()
  }
}

class Pass {
  readonly #library: Library
  readonly #mirrors: readonly Mirror[]
  readonly #selection: Selection
  readonly #patience: Patience
  readonly #turn = new KeyedLock()
  readonly #report: (progress: PassProgress) => void
  readonly #signal: AbortSignal
  readonly #beganAt = performance.now()
  readonly #findings = new Set<number>()
  readonly #progress: PassProgress = { files: 0, totalFiles: 0, bytes: 0, totalBytes: 0 }
  #seconds = 0
  /** Bytes read since uploads were last given way to. */
  #atAStretch = 0
  #proven: Proven[] = []
  #recordedAt = performance.now()

  constructor(
    library: Library,
    mirrors: readonly Mirror[],
    selection: Selection,
    isBusy: () => boolean,
    report: (progress: PassProgress) => void,
    signal: AbortSignal,
  ) {
    this.#library = library
    this.#mirrors = mirrors
    this.#selection = selection
    this.#patience = new Patience(isBusy, UPLOADS_FIRST)
    this.#report = report
    this.#signal = signal
  }

  readonly #pause = async (bytes = 0): Promise<void> => {
    this.#signal.throwIfAborted()
    this.#progress.bytes += bytes
    this.#report(this.#progress)
    this.#atAStretch += bytes
    if (this.#atAStretch < UPLOADS_FIRST.bytes) return
    this.#atAStretch = 0
    await this.#turn.run('', () => this.#patience.giveWay(this.#signal))
  }

  async readAll(): Promise<void> {
    const { db } = this.#library
    await this.#library.drive.check()
    const selection = this.#selection
    for (const place of [LIBRARY, ...this.#mirrors.map((mirror) => mirror.place)]) {
      const { files, bytes } = await countSelected(db, place, selection)
      this.#progress.totalFiles += files
      this.#progress.totalBytes += bytes
    }
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
    if (outcome !== undefined) await this.#conclude(original, outcome)
    this.#progress.files++
    this.#report(this.#progress)
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
    const walk = await walkFolders(this.#library, {
      ...walkOf(this.#selection),
      pause: () => this.#pause(),
      signal: this.#signal,
    })
    for (const id of walk.findings) this.#findings.add(id)
    await healFromUnknown(this.#library, walk.unknown, this.#selection, () => this.#pause())
  }

  /** The copies last: what was wrong with the library is healed from them, and they from it. */
  async readMirrors(): Promise<void> {
    for (const mirror of this.#mirrors) await this.#readMirror(mirror)
  }

  async #readMirror(mirror: Mirror): Promise<void> {
    const beganAt = performance.now()
    const done = () => {
      this.#progress.files++
      this.#report(this.#progress)
    }
    const pause = this.#pause
    for (const id of await verifyCopies(mirror, this.#selection, { pause, done })) this.#findings.add(id)
    this.#seconds += (performance.now() - beganAt) / 1000
    const options = { ...walkOf(this.#selection), pause, signal: this.#signal }
    for (const id of await compareFolders(mirror, options)) this.#findings.add(id)
  }

  async finish(): Promise<PassReport> {
    const findings = await findFindings(this.#library.db, [...this.#findings])
    const { files, bytes } = this.#progress
    return { files, bytes, seconds: this.#seconds, findings: findings.map(foundOf) }
  }
}

async function selectionOf(library: Library, { since, subset, path }: Static<typeof VerifyAsked>): Promise<Selection> {
  if (path !== undefined) return { under: await within(library, path) }
  return {
    since: since === undefined ? undefined : new Date(library.now().getTime() - since),
    part: subset,
  }
}

/** The path within the library, of something that is there or should be; `undefined` for the library as a whole. */
async function within(library: Library, path: string): Promise<string | undefined> {
  const root = library.drive.root
  const absolute = resolve(root, path)
  if (absolute === root) return undefined
  const under = absolute
    .slice(root.length + 1)
    .split(sep)
    .join('/')
  const isInside = absolute.startsWith(root.endsWith(sep) ? root : root + sep) && under.split('/')[0] !== '.iclood'
  if (isInside && (await hasAnything(library, under))) return under
  throw new AppError(
    'invalid_request',
    `There is nothing under ${path} in the library. Expected a folder or file such as 2024/07 or 2024/07/IMG_0042.HEIC.`,
  )
}

/** Whether the catalogue or the drive has anything at this path (a folder's or a file's), or below it. */
async function hasAnything(library: Library, path: string): Promise<boolean> {
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
