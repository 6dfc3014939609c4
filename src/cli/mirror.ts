import { Command } from 'commander'
import { humanSize } from '../base/human-size.ts'
import { print, printJson } from '../base/print.ts'
import type { Config } from '../config/config.ts'
import { AppError } from '../errors.ts'
import { replaceWithMirror } from '../mirror/open.ts'
import { type MirrorStatus, mirrorStatus } from '../mirror/status.ts'
import { type CommandContext, runCommand } from './context.ts'
import { openLibrary, type Session } from './session.ts'

const DONE = 0
const NOT_WELL = 1

export function mirrorCommand(context: CommandContext): Command {
  return new Command('mirror')
    .description('say how the second copy is; the server keeps it')
    .option('--replace', 'from now on keep it on the drive that is in MIRROR_FOLDER now, instead of the one before')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Nothing is deleted: what lies in the folder already is compared, and what is no copy is moved to its quarantine.
Exit code: 0 the second copy is there; 1 it is missing, full or failing; 2 could not be found out.`,
    )
    .action(({ replace, json }: { replace?: boolean; json?: boolean }) =>
      runCommand(context, (session) => run(session, replace ?? false, json ?? false)),
    )
}

async function run(session: Session, isReplacing: boolean, json: boolean): Promise<number> {
  const { config } = session
  const library = await openLibrary(session)
  if (isReplacing) await replaceWithMirror(library, folderOf(config))
  const status = await mirrorStatus(library, config.mirrorFolder, config.minFreeSpace)
  if (json) printJson(resultOf(status, config))
  else print(...describe(status, config))
  return status.state === 'missing' || status.state === 'full' || status.state === 'error' ? NOT_WELL : DONE
}

function folderOf({ mirrorFolder }: Config): string {
  if (mirrorFolder !== undefined) return mirrorFolder
  throw new AppError(
    'mirror_missing',
    'MIRROR_FOLDER is not set. Set it to the folder that is to hold the second copy.',
  )
}

function resultOf({ state, reason, backlog, isOnOneDevice }: MirrorStatus, { mirrorFolder }: Config) {
  return {
    state,
    reason,
    folder: mirrorFolder ?? null,
    files_behind: backlog.files,
    bytes_behind: backlog.bytes,
    oldest_behind: backlog.oldest?.toISOString() ?? null,
    same_device: isOnOneDevice,
  }
}

function describe({ state, reason, backlog, isOnOneDevice }: MirrorStatus, { mirrorFolder }: Config): string[] {
  if (state === 'none') return ['There is no second copy: MIRROR_FOLDER is not set.']
  const lines = [`Second copy: ${mirrorFolder}`]
  if (reason !== null) lines.push(reason)
  lines.push(
    backlog.files === 0
      ? 'It has every photo.'
      : `It lacks ${backlog.files} of the photos (${humanSize(backlog.bytes)}); the server copies them.`,
  )
  if (isOnOneDevice) lines.push('It is on the same drive as the library: when that drive fails, both are lost.')
  return lines
}
