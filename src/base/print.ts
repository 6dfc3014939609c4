import { inspect } from 'node:util'
import { AppError, inFull } from '../errors.ts'
import { printable, printableJson } from './shown.ts'

/*
 * The one place that prints, beside the log (log.ts) and the line that is drawn anew (cli/progress.ts). Each line is
 * made printable: nothing in it ends it, moves the cursor or reverses its direction.
 */

/** Prints lines on stdout. */
export function print(...lines: readonly string[]): void {
  process.stdout.write(textOf(lines))
}

/** Prints lines on stderr. */
export function printError(...lines: readonly string[]): void {
  process.stderr.write(textOf(lines))
}

/** Prints a value for programs; `indent` in spaces. */
export function printJson(value: unknown, indent = 0): void {
  process.stdout.write(`${printableJson(JSON.stringify(value, undefined, indent))}\n`)
}

/** Says on stderr why something could not be done: in its own words if they are for people, else with its stack. */
export function printFailure(error: unknown, isForPeople: boolean): void {
  if (error instanceof AppError) printError(inFull(error))
  else if (isForPeople && error instanceof Error) printError(...error.message.split('\n'))
  else printError(...inspect(error).split('\n'))
}

function textOf(lines: readonly string[]): string {
  return lines.map((line) => `${printable(line)}\n`).join('')
}
