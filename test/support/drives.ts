import { execFile, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { type FileHandle, mkdir, open, readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { hasErrno } from '../../src/errors.ts'
import { folderEndsWithTest } from './ends.ts'
import { command, root } from './needs.ts'
import { makeReapedFolder } from './reaper.ts'
import { until } from './until.ts'

const run = promisify(execFile)
const MB = 1024 * 1024

/** The kinds of file system that photos lie on; all but tmpfs on a block device of their own. */
export type FileSystem = 'tmpfs' | 'ext4' | 'xfs' | 'btrfs' | 'exfat'

/** A real drive, with a real file system, that a test may fill, unmount and break. */
export interface TestDrive {
  /** The mount point: an empty folder of another file system while the drive is unmounted. */
  readonly path: string
  /** Mounts it again. */
  mount(): Promise<void>
  /** As a person does; fails while anybody has something open on it. */
  unmount(): Promise<void>
  /** As a cable that comes loose: gone from the path at once, whoever has something open on it. */
  detach(): Promise<void>
  /** Remounts it read-only, as the kernel does after an error, or for writing again. */
  remount(mode: 'ro' | 'rw'): Promise<void>
  /** Unmounts it for good. Idempotent; done at the end of the test, or file, in any case. */
  remove(): Promise<void>
}

/** Needs what it takes to make a drive with that file system. */
export function drive(kind: FileSystem): string | undefined {
  const missing = root() ?? command('mount', 'mount')
  if (missing !== undefined) return missing
  // In a mount namespace of its own, which takes the mount with it.
  const mounting = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', tmpdir()])
  if (mounting.status !== 0) return 'the right to mount file systems'
  switch (kind) {
    case 'tmpfs':
      return undefined
    case 'exfat':
      return command('mkfs.exfat', 'exfatprogs') ?? command('mount.exfat-fuse', 'exfat-fuse') ?? loop()
    case 'ext4':
      return command('mkfs.ext4', 'e2fsprogs') ?? loop() ?? inKernel(kind)
    case 'xfs':
      return command('mkfs.xfs', 'xfsprogs') ?? loop() ?? inKernel(kind)
    case 'btrfs':
      return command('mkfs.btrfs', 'btrfs-progs') ?? loop() ?? inKernel(kind)
  }
}

function loop(): string | undefined {
  return spawnSync('losetup', ['-f']).status === 0 ? undefined : 'loop devices'
}

function inKernel(kind: string): string | undefined {
  const known = readFileSync('/proc/filesystems', 'utf8').includes(`\t${kind}\n`)
  return known || spawnSync('modprobe', ['-n', kind]).status === 0 ? undefined : `a kernel with ${kind}`
}

/** Makes a drive of `size` bytes (what a file system needs at least, if that is more) and mounts it. */
export async function makeDrive(
  kind: FileSystem,
  size = 64 * MB,
  mkfsOptions: readonly string[] = [],
): Promise<TestDrive> {
  const { path: folder, reap } = makeReapedFolder()
  folderEndsWithTest(folder, reap)
  const path = join(folder, 'mounted')
  await mkdir(path)
  const device = kind === 'tmpfs' ? '' : await makeDevice(kind, join(folder, 'image'), size, mkfsOptions)

  // What a tmpfs holds goes with its mount: a second one keeps it alive while the first is unmounted.
  const kept = join(folder, 'kept')
  if (kind === 'tmpfs') {
    await mkdir(kept)
    await run('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'iclood-test', kept])
  }
  const mount = async () => {
    if (kind === 'tmpfs') await run('mount', ['--bind', kept, path])
    else if (kind === 'exfat') await run('mount.exfat-fuse', [device, path])
    else await run('mount', ['-t', kind, device, path])
  }
  await mount()
  return {
    path,
    mount,
    unmount: async () => {
      await patiently(() => run('umount', [path]))
      // The helper program of a FUSE file system ends, and gives its device back, a moment later.
      if (kind === 'exfat') await run('flock', [device, 'true'])
    },
    detach: async () => {
      await run('umount', ['-l', path])
    },
    remount: (mode) =>
      patiently(() => run('mount', ['-o', kind === 'tmpfs' ? `remount,bind,${mode}` : `remount,${mode}`, path])),
    remove: reap,
  }
}

/** A server may be writing its journal at this very moment; what it holds open for ever is its fault. */
async function patiently(mounting: () => Promise<unknown>): Promise<void> {
  await until('nothing on the drive is open', async () => {
    try {
      await mounting()
      return true
    } catch (error) {
      if (!String(error).includes('busy')) throw error
      return false
    }
  })
}

async function makeDevice(
  kind: FileSystem,
  image: string,
  size: number,
  mkfsOptions: readonly string[],
): Promise<string> {
  const least = { tmpfs: 0, ext4: 8 * MB, exfat: 8 * MB, btrfs: 128 * MB, xfs: 320 * MB }[kind]
  const file = await open(image, 'w')
  // A hole: takes no space before it is written to.
  await file.truncate(Math.max(size, least))
  await file.close()
  // Nothing for root alone: what statfs says is free is what an upload may have.
  const options = {
    tmpfs: [],
    ext4: ['-q', '-m', '0', '-E', 'lazy_itable_init=0'],
    exfat: [],
    btrfs: ['-q'],
    xfs: ['-q'],
  }
  await makeFileSystem(kind, [...options[kind], ...mkfsOptions, image])
  const { stdout } = await run('losetup', ['-f', '--show', image], { env: withSbin() })
  return stdout.trim()
}

/** Runs the program that makes a file system of that kind. */
export async function makeFileSystem(kind: FileSystem, args: readonly string[]): Promise<void> {
  await until(`mkfs.${kind} runs`, async () => {
    try {
      await run(`mkfs.${kind}`, args, { env: withSbin() })
      return true
    } catch (error) {
      // That of btrfs looks at all loop devices, also at one of another test whose disk has no power just now.
      if (!String(error).includes('cannot check mount status')) throw error
      return false
    }
  })
}

/** The environment for programs of Debian that an ordinary user does not call. */
export function withSbin(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` }
}

/**
 * Makes a file `path` that takes all the room there is, as another program does; a server may take some of it
 * meanwhile.
 */
export async function fillUp(path: string): Promise<void> {
  const file = await open(path, 'w')
  try {
    for (const size of [MB, 4096]) {
      const chunk = Buffer.alloc(size)
      while (await wasWritten(file, chunk));
    }
  } finally {
    await file.close()
  }
}

async function wasWritten(file: FileHandle, chunk: Buffer): Promise<boolean> {
  try {
    await file.writeFile(chunk)
    return true
  } catch (error) {
    if (!hasErrno(error, 'ENOSPC')) throw error
    return false
  }
}

/**
 * All originals in `folder` and below, as paths relative to it, in order: no SHA256SUMS, nothing in `.iclood` and
 * `lost+found`.
 */
export async function originalsIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .filter((path) => !/^(\.iclood|lost\+found)\/|(^|\/)SHA256SUMS$/.test(path))
    .sort()
}

/** What lies in the staging folder of the library `folder`. */
export async function stagedIn(folder: string): Promise<string[]> {
  return readdir(join(folder, '.iclood/incoming'))
}

/** What of uploads and copies lies there: a server that runs also writes each SHA256SUMS there, whenever it likes. */
export async function uploadsIn(folder: string): Promise<string[]> {
  return (await stagedIn(folder)).filter((name) => !name.endsWith('.sums'))
}
