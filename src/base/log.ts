import { Writable } from 'node:stream'
import { type Logger, pino } from 'pino'
import { AppError, hasErrno, inFull } from '../errors.ts'
import { printable, printableJson } from './shown.ts'

/** The log, and where there is a terminal, a last line in it that may change. */
export interface Output {
  log: Logger
  /** Shows `line` below the log until it is shown another one; '' takes it away. `undefined` without a terminal. */
  show: ((line: string) => void) | undefined
}

/** For a terminal the log is written for people, else as JSON: one line an event. */
export async function createOutput(level: string, stdout: NodeJS.WriteStream): Promise<Output> {
  if (!stdout.isTTY) return { log: logTo(stdout, level), show: undefined }
  const { default: pretty } = await import('pino-pretty')
  const terminal = new Terminal(stdout)
  const destination = pretty({
    destination: terminal,
    ignore: 'pid,hostname',
    translateTime: 'SYS:HH:MM:ss',
    singleLine: true,
  })
  const lines = { write: (line: string) => destination.write(printableLine(line)) }
  return { log: pino(optionsOf(level), lines), show: (line) => terminal.show(line) }
}

/** A log of JSON, which a terminal may print as it is. */
export function logTo(stream: NodeJS.WritableStream, level: string): Logger {
  return pino(optionsOf(level), { write: (line) => stream.write(printableJson(line)) })
}

function optionsOf(level: string) {
  return { level, serializers: { err: describeError } }
}

/** A line of the log whose texts are printable; only a stack has several lines. */
export function printableLine(line: string): string {
  const readable = JSON.parse(line, (key, value: unknown) => {
    if (typeof value !== 'string') return value
    return key === 'stack' ? value.split('\n').map(printable).join('\n') : printable(value)
  })
  return `${JSON.stringify(readable)}\n`
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
    const shown = [...printable(line)].slice(0, width).join('')
    if (shown === this.#line) return
    this.#stdout.write(`${this.#line === '' ? '' : CLEARED_LINE}${shown}`)
    this.#line = shown
  }

  override _write(text: string | Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#stdout.write(this.#line === '' ? text : `${CLEARED_LINE}${text}${this.#line}`)
    done()
  }
}
