import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { endsWithTest } from './ends.ts'
import { PROGRAM, surroundings } from './surroundings.ts'

/** How a command has ended. */
export interface CommandResult {
  /** The exit code; null if it was killed. */
  code: number | null
  stdout: string
  stderr: string
}

export interface RunningCommand {
  readonly process: ChildProcess
  readonly result: Promise<CommandResult>
}

/** Starts `iclood …` in `folder`, with the same surroundings and database as `startServer` gives its server there. */
export function startCommand(
  folder: string,
  args: readonly string[],
  env: Record<string, string> = {},
): RunningCommand {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    cwd: folder,
    env: surroundings(folder, env),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  endsWithTest(() => child.kill('SIGKILL'))
  const printed = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      printed[name] += text
    })
  }
  const result = once(child, 'close').then(([code]) => ({ code: code as number | null, ...printed }))
  return { process: child, result }
}

/** Runs `iclood …` to its end. */
export function runCommand(
  folder: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<CommandResult> {
  return startCommand(folder, args, env).result
}
