import { createHash } from 'node:crypto'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { hasErrno } from '../errors.ts'
import type { Binaries } from './binaries.ts'
import { handOver } from './hand-over.ts'
import { type Launcher, nameWithin } from './launcher.ts'
import { runToEnd } from './run-to-end.ts'
import type { Log } from './server-log.ts'
import { DATABASE, ROLE, serverSettings } from './settings.ts'

/** What only a superuser can say. All of it may be repeated. */
const STATEMENTS = [
  // That mode takes an error that was caught for an error.
  `do $do$ begin if to_regrole('${ROLE}') is null then create role ${ROLE}; end if; end $do$`,
  `alter role ${ROLE} login nosuperuser nocreatedb nocreaterole noreplication nobypassrls`,
  `grant usage, create on schema public to ${ROLE}`,
  // What a list may take of the disk is set for each connection (`openRequests`).
  `grant set on parameter temp_file_limit to ${ROLE}`,
  handOver(ROLE),
].map((statement) => statement.replaceAll(/\s+/g, ' '))

/**
 * Who is let in: the one role that the program works as, over the socket, which lies in a folder that only the account
 * of postgres, and root, can enter. The superuser can't log in at all. (`peer` would compare the account's name with
 * the role's and lock out a server that runs as root beside a postgres that can't.) The number stands for what was
 * said.
 */
const ADMITTED = `# Written by iClood at each start. The superuser has no line: nobody logs in as it.
# ${createHash('sha256').update(STATEMENTS.join('\n')).digest('hex')}
local  ${DATABASE}  ${ROLE}  trust
`

/**
 * Makes sure that the program works as a role of its own, which is no superuser, and that nobody can log in as another.
 * Does nothing where that is so already: then `pg_hba.conf` says so, which is written last. Killed before, it is begun
 * again, as it is by a version that has more to say. Up to version 0.2 the superuser owned all and was let in.
 *
 * No server may run on `cluster`: the superuser's words are said to a PostgreSQL that listens to nobody else
 * (`--single`).
 */
export async function establishRoles(
  cluster: string,
  { postgres }: Binaries,
  launcher: Launcher,
  log: Log,
  signal?: AbortSignal,
): Promise<void> {
  const file = join(cluster, 'pg_hba.conf')
  if ((await readText(file)) === ADMITTED) return
  // A line is a statement there; the first that fails ends it.
  const input = STATEMENTS.map((statement) => `${statement}\n`).join('')
  const args = ['--single', '-D', nameWithin(cluster), ...serverSettings({ exit_on_error: 'on' }), DATABASE]
  await runToEnd(launcher, postgres, args, {
    folder: cluster,
    input,
    otherwise: 'could not give its database to a role of its own',
    log,
    signal,
  })
  await replace(file, ADMITTED, launcher)
  log.info({ folder: cluster }, 'the database belongs to a role that is no superuser')
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined
    throw error
  }
}

/** Exclusively made, then renamed, as root would else write through a link that the account put there; durable. */
async function replace(path: string, text: string, { account }: Launcher): Promise<void> {
  const staging = `${path}.new`
  await rm(staging, { force: true })
  const file = await open(staging, 'wx', 0o600)
  try {
    await file.writeFile(text)
    if (account) await file.chown(account.uid, account.gid)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(staging, path)
  const folder = await open(join(path, '..'), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
