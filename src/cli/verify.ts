import { Command, InvalidArgumentError, Option } from 'commander'
import { print, printError, printJson } from '../base/print.ts'
import { duration, Refusal } from '../config/values.ts'
import type { Progress } from '../control/works.ts'
import { COULD_NOT_RUN, type CommandContext, runCommand, type Session } from './context.ts'
import { describeWork, ProgressLine } from './progress.ts'
import { perform } from './session.ts'
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

async function run(session: Session, { json, ...asked }: VerifyOptions): Promise<number> {
  const line = process.stderr.isTTY ? new ProgressLine(process.stderr) : undefined
  const beganAt = performance.now()
  try {
    const report = await perform(session, 'verify', asked, {
      progress: (work) => line?.show(() => `${bar(work)} ${describeWork(work, performance.now() - beganAt)}`),
      say: (text) => {
        line?.clear()
        printError(text)
      },
    })
    line?.clear()
    if (json) printJson(resultOf(report))
    else print(...describeReport(report))
    return hasNews(report.findings) ? FINDINGS : CLEAN
  } catch (error) {
    line?.clear()
    if (!session.signal.aborted) throw error
    printError('Interrupted. What was read back until now is recorded; the rest can be done another time.')
    return COULD_NOT_RUN
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

const BAR_LENGTH = 20

/** `[=====>              ]  27 %` */
function bar({ files, totalFiles, bytes, totalBytes }: Progress<'verify'>): string {
  const share = totalBytes > 0 ? bytes / totalBytes : totalFiles > 0 ? files / totalFiles : 1
  const done = Math.min(Math.floor(share * BAR_LENGTH), BAR_LENGTH)
  const drawn = done < BAR_LENGTH ? `${'='.repeat(done)}>` : '='.repeat(BAR_LENGTH)
  return `[${drawn.padEnd(BAR_LENGTH)}] ${String(Math.min(Math.floor(share * 100), 100)).padStart(3)} %`
}
