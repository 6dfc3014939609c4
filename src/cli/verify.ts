import { resolve, sep } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { Library } from '../archive/library.ts'
import { print, printError, printJson } from '../base/print.ts'
import { isLocked } from '../base/process-lock.ts'
import { isAllSummed } from '../catalogue/outbox.ts'
import type { Selection } from '../catalogue/verification.ts'
import { duration, Refusal } from '../config/values.ts'
import { hasAnything, type PassOptions, type PassProgress, verifyLibrary } from '../control/pass.ts'
import { AppError } from '../errors.ts'
import { createMirror } from '../mirror/mirror.ts'
import { mirrorSource } from '../mirror/source.ts'
import { openMirrorDrive } from '../mirror/status.ts'
import { COULD_NOT_RUN, type CommandContext, runCommand } from './context.ts'
import { describeWork, ProgressLine } from './progress.ts'
import { openLibrary, type Session } from './session.ts'
import { describeReport, hasNews, resultOf } from './verify-report.ts'

const CLEAN = 0
const FINDINGS = 1

interface VerifyOptions {
  /** Milliseconds. */
  since?: number
  subset?: { number: number; of: number }
  path?: string
  json?: true
}

/** `iclood verify`: reads the library back from the drive and compares it with the catalogue. */
export function verifyCommand(context: CommandContext): Command {
  return new Command('verify')
    .description('read the photos back from the drive and compare them with what was stored')
    .addOption(
      new Option('--since <time>', 'only what was stored within this time, such as 30d or 12h')
        .argParser(parseTime)
        .conflicts(['subset', 'path']),
    )
    .addOption(
      new Option('--subset <n/m>', 'only one of m parts, such as 1/10; all of them together are the whole library')
        .argParser(parseSubset)
        .conflicts(['since', 'path']),
    )
    .addOption(new Option('--path <path>', 'only this folder or file, such as 2024/07').conflicts(['since', 'subset']))
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Works beside a running server and without one. What is missing, damaged or unreadable is put back from another copy where there is
one, and asked for again from the phones where there is none. Nothing is deleted. It may be interrupted: what it has proven, it has proven.
Exit code: 0 clean, but for what was accepted; 1 something was found, also if it was healed at once; 2 could not be done.`,
    )
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : COULD_NOT_RUN))
    .action((options: VerifyOptions) => runCommand(context, (session) => run(session, options)))
}

async function run(session: Session, options: VerifyOptions): Promise<number> {
  const { db, signal } = session
  const library = await openLibrary(session)
  const mirror = await openMirror(session, library)
  const selection = await selectionOf(library, options)
  const line = process.stderr.isTTY ? new ProgressLine(process.stderr) : undefined
  const beganAt = performance.now()
  try {
    const isServed = await isLocked(library.drive.id)
    const report = await verifyLibrary(library, {
      selection,
      isServed,
      isKept: isServed || (await isAllSummed(db)),
      mirror,
      signal,
      report: (work) => line?.show(() => `${bar(work)} ${describeWork(work, performance.now() - beganAt)}`),
    })
    line?.clear()
    if (options.json) printJson(resultOf(report))
    else print(...describeReport(report))
    return hasNews(report.findings) ? FINDINGS : CLEAN
  } catch (error) {
    line?.clear()
    if (!signal.aborted) throw error
    printError('Interrupted. What was read back until now is recorded; the rest can be done another time.')
    return COULD_NOT_RUN
  }
}

/**
 * The second copy, from which the library is healed and which is read back too; `undefined` if there is none, or it is
 * not there.
 */
async function openMirror({ config }: Session, library: Library): Promise<PassOptions['mirror']> {
  const { mirrorFolder, minFreeSpace } = config
  if (mirrorFolder === undefined) return undefined
  try {
    const { place, drive } = await openMirrorDrive(library, mirrorFolder)
    library.sources.push(mirrorSource(library, async () => ({ place, drive })))
    // Where a server keeps it, that is the one to write there.
    return { copies: createMirror(library, place, drive, minFreeSpace), canRepair: !(await isLocked(drive.id)) }
  } catch (error) {
    if (!(error instanceof AppError) || error.code === 'database_unavailable') throw error
    printError(`The second copy is not read back: ${error.message}`)
    return undefined
  }
}

function parseTime(text: string): number {
  try {
    return duration(text)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    throw new InvalidArgumentError('Expected a time such as 30d, 12h, 90m or 45s.')
  }
}

function parseSubset(text: string): { number: number; of: number } {
  const [, number, of] = (/^(\d{1,4})\/(\d{1,4})$/.exec(text) ?? []).map(Number)
  if (number === undefined || of === undefined || number < 1 || number > of) {
    throw new InvalidArgumentError('Expected which of how many parts, such as 1/10.')
  }
  return { number, of }
}

async function selectionOf(library: Library, { since, subset, path }: VerifyOptions): Promise<Selection> {
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

const BAR_LENGTH = 20

/** `[=====>              ]  27 %` */
function bar({ files, totalFiles, bytes, totalBytes }: PassProgress): string {
  const share = totalBytes > 0 ? bytes / totalBytes : totalFiles > 0 ? files / totalFiles : 1
  const done = Math.min(Math.floor(share * BAR_LENGTH), BAR_LENGTH)
  const drawn = done < BAR_LENGTH ? `${'='.repeat(done)}>` : '='.repeat(BAR_LENGTH)
  return `[${drawn.padEnd(BAR_LENGTH)}] ${String(Math.min(Math.floor(share * 100), 100)).padStart(3)} %`
}
