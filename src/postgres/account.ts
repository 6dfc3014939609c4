import { readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { AppError, hasErrno } from '../errors.ts'

export interface Account {
  readonly uid: number
  readonly gid: number
}

/**
 * The account for postgres, which refuses to run as root. Returns undefined when it runs as ourselves (we are not
 * root). Root gets the owner of an existing `cluster`; else the owner of the nearest folder at or above `dataDir` that
 * is not root's, so that `sudo` in a person's own clone leaves a database which that person can start later without;
 * else `postgres`, else `nobody`. initdb wants an entry in /etc/passwd, so a new cluster's account always has one.
 */
export async function chooseAccount(dataDir: string, cluster: string): Promise<Account | undefined> {
  const ownUid = process.getuid?.()
  if (ownUid === undefined) return undefined

  if (ownUid !== 0) {
    const existing = await ownerOf(cluster)
    if (existing === undefined || existing.uid === ownUid) return undefined
    throw new AppError(
      'database_unavailable',
      `The database in ${cluster} belongs to the account with uid ${existing.uid}, and this server runs as uid ` +
        `${ownUid}. Start it as that account, or give the folder away: sudo chown -R ${ownUid} '${cluster}'`,
    )
  }

  // An empty folder of that name is no cluster yet.
  const existing = await ownerOf(join(cluster, 'PG_VERSION'))
  const known = await readAccounts()
  if (existing?.uid === 0) {
    const name = (known.find(isNamed('postgres')) ?? known.find(isNamed('nobody')))?.name ?? 'nobody'
    throw new AppError(
      'database_unavailable',
      `The database in ${cluster} belongs to root, and PostgreSQL refuses to run as root. ` +
        `Give it to an ordinary account: chown -R ${name} '${cluster}'`,
    )
  }
  if (existing !== undefined) return known.find((entry) => entry.uid === existing.uid) ?? existing

  const person = await nearestOwner(dataDir)
  const account =
    known.find((entry) => entry.uid === person) ?? known.find(isNamed('postgres')) ?? known.find(isNamed('nobody'))
  if (account === undefined) {
    throw new AppError(
      'database_unavailable',
      'PostgreSQL refuses to run as root, and this system has neither an account `postgres` nor `nobody`. ' +
        'Start the server as an ordinary user, or set DATABASE_URL.',
    )
  }
  return { uid: account.uid, gid: account.gid }
}

/**
 * Tells from the permission bits whether `account` can reach and read `path` (a folder: enter it, a program: run it).
 * Access control lists may grant more than these bits say, never less.
 */
export async function isOpenTo(account: Account, path: string): Promise<boolean> {
  const READ_AND_ENTER = 0o5
  const ENTER = 0o1
  for (let at = path, need = READ_AND_ENTER; ; at = dirname(at), need = ENTER) {
    const { uid, gid, mode } = await stat(at)
    const granted = uid === account.uid ? mode >> 6 : gid === account.gid ? mode >> 3 : mode
    if ((granted & need) !== need) return false
    if (at === dirname(at)) return true
  }
}

interface NamedAccount extends Account {
  readonly name: string
}

const isNamed = (name: string) => (entry: NamedAccount) => entry.name === name

async function readAccounts(): Promise<NamedAccount[]> {
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n')
  return lines.flatMap((line) => {
    const [name, , uid, gid] = line.split(':')
    return name && uid && gid ? [{ name, uid: Number(uid), gid: Number(gid) }] : []
  })
}

async function ownerOf(path: string): Promise<Account | undefined> {
  try {
    const { uid, gid } = await stat(path)
    return { uid, gid }
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined
    throw error
  }
}

/** Returns undefined when everything up to `/` is root's. */
async function nearestOwner(path: string): Promise<number | undefined> {
  const { uid } = await stat(path)
  if (uid !== 0) return uid
  return path === dirname(path) ? undefined : nearestOwner(dirname(path))
}
