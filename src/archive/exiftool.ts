import { spawn } from 'node:child_process'
import { ifReadable } from '../base/if-readable.ts'
import { KeyedLock } from '../base/keyed-lock.ts'
import { hasErrno } from '../errors.ts'
import { asUtc, type CaptureDate, parseDate } from '../media/capture-date.ts'
import { Found } from '../media/found.ts'
import type { Drive } from '../storage/drive.ts'
import { withDescriptor } from '../storage/originals.ts'

/** What ExifTool calls a date, in the order in which they count. Those called "sub-second" have the offset as well. */
const TAGS = [
  ...['SubSecDateTimeOriginal', 'DateTimeOriginal', 'SubSecCreateDate', 'CreateDate', 'CreationDate'],
  ...['ContentCreateDate', 'DateTimeCreated', 'DateCreated', 'MediaCreateDate', 'ModifyDate', 'GPSDateTime'],
]

/**
 * No configuration of the account's; no trailers and notes of makers; files of any size; nothing but text of its own.
 */
const OPTIONS = ['-config', '', '-json', '-quiet', '-quiet', '-m', '-fast2', '-api', 'LargeFileSupport=1']

const TIMEOUT_MS = 15_000
/** In characters. */
const MAX_OUTPUT = 64 * 1024
/** In KiB. ExifTool takes 60 MB of memory, and addresses twice that. */
const MAX_MEMORY = 512 * 1024
const MAX_CPU_SECONDS = 10
/** Where a system does not know one of these limits, the others hold. It writes no files. */
const LIMITS = `ulimit -v ${MAX_MEMORY}; ulimit -t ${MAX_CPU_SECONDS}; ulimit -c 0; ulimit -f 0`
/** What a shell says of a program that it does not find. */
const NOT_FOUND = 127

/**
 * An ExifTool that the household may have installed, for the rare kinds of media whose dates we do not read. It reads
 * what a stranger may have made: so in a process of its own, one at a time, with limits, and whatever becomes of that
 * is no failure of ours.
 */
export class ExifTool {
  readonly #program: string
  readonly #timeoutMs: number
  readonly #turn = new KeyedLock()
  #isMissing = false

  constructor(program = 'exiftool', timeoutMs = TIMEOUT_MS) {
    this.#program = program
    this.#timeoutMs = timeoutMs
  }

  /**
   * When the media in the file that is open as `file` was taken: a date that is not more than a day after `now`.
   * Undefined if it does not say, or ExifTool can't. One that is not installed is not looked for again.
   */
  async dateOf(file: number, now: Date): Promise<CaptureDate | undefined> {
    const output = await this.#turn.run('', () => this.#ask(file))
    return output === undefined ? undefined : dateIn(output, now)
  }

  async #ask(file: number): Promise<string | undefined> {
    if (this.#isMissing) return undefined
    const asked = [this.#program, ...OPTIONS, ...TAGS.map((tag) => `-${tag}`), '-']
    const answer = await run(asked, file, this.#timeoutMs)
    this.#isMissing = answer === undefined || answer.code === NOT_FOUND
    // What it complains of in a file does not make what it found wrong, unless it was not let finish.
    return answer?.code === null ? undefined : answer?.output
  }
}

/**
 * Asks for the date in the file at `path` (relative to the library), which is opened here: a name could be another
 * file's by the time that a child of ours comes to it. Undefined also if the drive can't read it.
 */
export async function askExifTool(
  { drive, exifTool }: { drive: Drive; exifTool: ExifTool },
  path: string,
  now: Date,
): Promise<CaptureDate | undefined> {
  return ifReadable(withDescriptor(drive, path, (file) => exifTool.dateOf(file, now)))
}

/**
 * Runs a program within the limits, with the file `input` as its standard input. Its code is null if it was killed,
 * and what it has left running with it; undefined if there is no shell to run it.
 */
function run(
  command: readonly string[],
  input: number,
  timeoutMs: number,
): Promise<{ code: number | null; output: string } | undefined> {
  return new Promise((resolve) => {
    const script = `{ ${LIMITS}; } 2>/dev/null; export LC_ALL=C TZ=UTC; exec "$@"`
    // A group of its own, which can be ended as a whole.
    const child = spawn('/bin/sh', ['-c', script, 'sh', ...command], {
      stdio: [input, 'pipe', 'ignore'],
      detached: true,
    })
    let output = ''
    let isKilled = false
    const end = () => {
      isKilled = true
      endGroup(child.pid)
      child.stdout?.destroy()
    }
    const timer = setTimeout(end, timeoutMs)
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output += text
      if (output.length > MAX_OUTPUT) end()
    })
    child.on('error', () => {
      clearTimeout(timer)
      resolve(undefined)
    })
    child.on('exit', () => endGroup(child.pid))
    child.on('close', (code) => {
      clearTimeout(timer)
      resolve({ code: isKilled ? null : code, output })
    })
  })
}

function endGroup(leader: number | undefined): void {
  if (leader === undefined) return
  try {
    process.kill(-leader, 'SIGKILL')
  } catch (error) {
    // All of it has ended already.
    if (!hasErrno(error, 'ESRCH', 'EPERM')) throw error
  }
}

function dateIn(output: string, now: Date): CaptureDate | undefined {
  const tags = parseTags(output)
  const found = new Found(now)
  for (const tag of TAGS) {
    const text = String(tags[tag] ?? '')
    const date = parseDate(text)
    // So it writes what a file has in UTC without saying where it was.
    found.noteDate('exiftool', /\d\s*Z$/.test(text) ? asUtc(date) : date)
  }
  return found.captured
}

function parseTags(output: string): Readonly<Record<string, unknown>> {
  try {
    const [tags] = JSON.parse(output) as unknown[]
    return typeof tags === 'object' && tags !== null ? { ...tags } : {}
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return {}
    throw error
  }
}
