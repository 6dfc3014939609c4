import { explainFailure } from './failure.ts'
import type { Launcher } from './launcher.ts'
import { type Log, relayServerLog } from './server-log.ts'

/**
 * Runs one of PostgreSQL's programs to its end, in `folder`. Throws `database_unavailable` or `disk_full` with its own
 * words, which go on after "The embedded PostgreSQL" with `otherwise`, if it fails. `signal` kills it and throws the
 * signal's reason.
 */
export async function runToEnd(
  launcher: Launcher,
  program: string,
  args: readonly string[],
  options: { folder: string; input?: string; otherwise: string; log: Log; signal?: AbortSignal | undefined },
): Promise<void> {
  const { otherwise, log, signal, ...where } = options
  signal?.throwIfAborted()
  const child = launcher.launch(program, args, { ...where, deathSignal: 'KILL' })
  if (child.stderr === null) throw new Error(`${program} was launched without a pipe for its messages`)
  const messages = relayServerLog(child.stderr, log, () => {})

  const onAbort = () => child.kill('SIGKILL')
  signal?.addEventListener('abort', onAbort, { once: true })
  const outcome = await new Promise<string | undefined>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code, killer) => resolve(code === 0 ? undefined : `exit code ${code ?? killer}`))
  })
  signal?.removeEventListener('abort', onAbort)
  signal?.throwIfAborted()
  if (outcome !== undefined) throw explainFailure(otherwise, outcome, messages.recent())
}
