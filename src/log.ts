import { Writable } from 'node:stream'
import { type Logger, pino } from 'pino'
import { AppError, hasErrno, inFull } from './errors.ts'

/** The log, and where there is a terminal, a last line in it that may change. */
export interface Output {
  log: Logger
  /** Shows `line` below the log until it is shown another one; '' takes it away. `undefined` without a terminal. */
  show: ((line: string) => void) | undefined
}

/** For a terminal the log is written for people, else as JSON: one line an event. */
export async function createOutput(level: string, stdout: NodeJS.WriteStream): Promise<Output> {
  const options = { level, serializers: { err: describeError } }
  if (!stdout.isTTY) return { log: pino(options, stdout), show: undefined }
  const { default: pretty } = await import('pino-pretty')
  const terminal = new Terminal(stdout)
  const destination = pretty({
    destination: terminal,
    ignore: 'pid,hostname',
    translateTime: 'SYS:HH:MM:ss',
    singleLine: true,
  })
  return { log: pino(options, destination), show: (line) => terminal.show(line) }
}

/** What can happen in any household is a sentence; what nobody foresaw has a stack. */
export function describeError(error: unknown): unknown {
  if (error instanceof AppError) {
    const { cause } = error
    return cause instanceof Error && isExpected(cause) ? `${inFull(error)} (${cause.message})` : inFull(error)
  }
  if (error instanceof Error) return isExpected(error) ? error.message : pino.stdSerializers.err(error)
  return error
}

function isExpected(error: Error): boolean {
  return error instanceof AppError || hasErrno(error) || error.name === 'AbortError'
}

const CLEARED_LINE = '\r\u001b[2K'

/** A terminal whose last line may be taken back. */
class Terminal extends Writable {
  readonly #stdout: NodeJS.WriteStream
  #line = ''

  constructor(stdout: NodeJS.WriteStream) {
    super({ decodeStrings: false })
    this.#stdout = stdout
  }

  show(line: string): void {
    const width = Math.max(this.#stdout.columns - 1, 0) || 79
    const shown = [...line].slice(0, width).join('')
    if (shown === this.#line) return
    this.#stdout.write(`${this.#line === '' ? '' : CLEARED_LINE}${shown}`)
    this.#line = shown
  }

  override _write(text: string | Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#stdout.write(this.#line === '' ? text : `${CLEARED_LINE}${text}${this.#line}`)
    done()
  }
}
