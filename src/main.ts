import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { exit, exitNow } from './base/exit.ts'
import { createOutput } from './base/log.ts'
import { printFailure } from './base/print.ts'
import { UnfitDatabase } from './catalogue/encoding.ts'
import { acceptCommand } from './cli/accept.ts'
import type { CommandContext } from './cli/context.ts'
import { forgetCommand } from './cli/forget.ts'
import { mirrorCommand } from './cli/mirror.ts'
import { rebuildCommand } from './cli/rebuild.ts'
import { statusCommand } from './cli/status.ts'
import { verifyCommand } from './cli/verify.ts'
import { type Config, ConfigError, loadConfig, misspeltSettings, readEnvironment } from './config/config.ts'
import type { RunningServer } from './server/serve.ts'
import { StartError } from './server/start.ts'
import { feedWatchdog } from './server/watchdog.ts'

/** From sysexits.h: something was configured wrongly. */
const EX_CONFIG = 78

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

const program = new Command('iclood')
  .description('The backup server for a household’s iPhones. Settings come from the environment and from .env.')
  .version(version)

export const context: CommandContext = { version, readConfig }
program.addCommand(verifyCommand(context))
program.addCommand(rebuildCommand(context))
program.addCommand(mirrorCommand(context))
program.addCommand(statusCommand(context))
program.addCommand(acceptCommand(context))
program.addCommand(forgetCommand(context))

program
  .command('serve')
  .description('receive photos and videos from phones, until Ctrl-C')
  .action(() => run())

/** The settings, as the environment and `.env` have them. From then on what is made is closed to whom they say. */
function readConfig(): Config {
  const config = loadConfig(readEnvironment(process.cwd(), process.env), process.cwd())
  process.umask(config.umask)
  return config
}

async function run(): Promise<void> {
  const config = readConfig()
  // A log that can't be written (a full disk, a reader that went away) is no reason to take no more photos.
  process.stdout.on('error', () => {})
  process.stderr.on('error', () => {})
  const { log, show } = await createOutput(config.logLevel, process.stdout)
  feedWatchdog(process.env, log)
  for (const { name, meant } of misspeltSettings(process.cwd())) {
    log.warn({ setting: name }, `.env sets ${name}, which is no setting and changes nothing. Did you mean ${meant}?`)
  }
  const giveUp = new AbortController()
  let server: RunningServer | undefined
  onSignal(() => {
    if (server === undefined) giveUp.abort()
    else server.stop().then(() => exit(0), fail)
  })
  try {
    // Loaded for this alone: a command needs no web server, which takes longer to load than all else.
    const { serve } = await import('./server/serve.ts')
    server = await serve(config, version, { log, show }, giveUp.signal)
  } catch (error) {
    if (giveUp.signal.aborted) return exit(0)
    throw error
  }
  await server.ended
}

/** npm passes on the Ctrl-C that the terminal has sent to everybody: two signals at once are one. */
const ONE_SIGNAL_MS = 250

/** The first signal lets uploads end: `stop` is called. A second one does not wait for them. */
function onSignal(stop: () => void): void {
  let since: number | undefined
  const listener = () => {
    const now = performance.now()
    if (since !== undefined && now - since > ONE_SIGNAL_MS) exitNow(1)
    if (since !== undefined) return
    since = now
    stop()
  }
  process.on('SIGTERM', listener)
  process.on('SIGINT', listener)
}

/** The one place where an error becomes an exit code. What a person can mend is said without a stack trace. */
function fail(error: unknown): never {
  const isConfig = error instanceof ConfigError || error instanceof UnfitDatabase
  const isForPeople = isConfig || error instanceof StartError
  printFailure(error, isForPeople)
  process.exit(isConfig ? EX_CONFIG : 1)
}

if (process.argv.length <= 2) program.outputHelp()
else program.parseAsync().catch(fail)
