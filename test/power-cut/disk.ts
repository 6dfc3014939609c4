import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, open, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { drive, makeFileSystem } from '../support/drives.ts'
import { folderEndsWithTest } from '../support/ends.ts'
import { command } from '../support/needs.ts'
import { makeReapedFolder } from '../support/reaper.ts'
import { until } from '../support/until.ts'

const run = promisify(execFile)
const MB = 1024 * 1024

/** The file systems that a power cut is tried on. */
export type Kind = 'ext4' | 'xfs' | 'btrfs'

/** A disk that loses what was not flushed, with a real file system on it. */
export interface Disk {
  /** Where its file system is mounted. */
  readonly path: string
  /** A folder beside the disk, for what shall survive its cuts. */
  readonly beside: string
  /** Cuts its power: all that was not flushed is gone, and whoever uses the disk gets errors from now on. */
  cut(): Promise<void>
  /**
   * Takes the dead disk away and mounts it again with its power on, as a computer does that starts after a cut: the
   * file system repairs itself. Nobody may have anything open on it any more.
   */
  restore(): Promise<void>
  /** Idempotent; done at the end of the test, or file, in any case. */
  remove(): Promise<void>
}

/** Needs what it takes to make such a disk with that file system. */
export function cuttable(kind: Kind): string | undefined {
  return (
    drive(kind) ??
    command('nbdkit', 'nbdkit') ??
    command('nbdfuse', 'libnbd-bin') ??
    (existsSync('/dev/fuse') ? undefined : '/dev/fuse')
  )
}

/**
 * Makes a disk of 512 MB and mounts it, with `mountOptions` if given. From the bottom: an image file; nbdkit, whose
 * cache holds all writes until they are flushed, and dies with them; nbdfuse, which makes a file of it; a loop device;
 * the file system. A flush goes all the way down.
 */
export async function makeDisk(kind: Kind, mountOptions: readonly string[] = []): Promise<Disk> {
  const { path: folder, reap } = makeReapedFolder()
  folderEndsWithTest(folder, reap)
  const path = join(folder, 'mounted')
  const beside = join(folder, 'beside')
  await mkdir(path)
  await mkdir(beside)
  const image = await open(join(folder, 'image'), 'w')
  // A hole: takes no space before it is written to.
  await image.truncate(512 * MB)
  await image.close()
  // Nothing is left to be zeroed later, which this stack does wrong; see `plugIn`.
  const options = { ext4: ['-q', '-E', 'lazy_itable_init=0,nodiscard'], xfs: ['-q', '-K'], btrfs: ['-q', '-K'] }[kind]
  await makeFileSystem(kind, [...options, join(folder, 'image')])

  const plug = () => plugIn(folder, kind, mountOptions)
  let power = await plug()
  return {
    path,
    beside,
    cut: () => kill(power.nbdkit),
    restore: async () => {
      await kill(power.nbdkit)
      await unmount(path)
      await run('losetup', ['-d', power.device], { env: environment(folder) })
      await unmount(join(folder, 'disk'))
      await kill(power.nbdfuse)
      power = await plug()
    },
    remove: reap,
  }
}

interface Power {
  nbdkit: ChildProcess
  nbdfuse: ChildProcess
  device: string
}

async function plugIn(folder: string, kind: Kind, mountOptions: readonly string[]): Promise<Power> {
  const file = join(folder, 'disk')
  await writeFile(file, '')
  const socket = join(folder, 'socket')
  await rm(socket, { force: true })
  const start = (program: string, ...args: readonly string[]) =>
    startDaemon(folder, program, ['-P', join(folder, `${program}.pid`), ...args])

  const cache = ['--filter=cache', 'file', join(folder, 'image'), 'cache=writeback']
  const nbdkit = await start('nbdkit', '-f', '-U', socket, ...cache)
  const nbdfuse = await start('nbdfuse', file, '--unix', socket)
  const { stdout } = await run('losetup', ['-f', '--show', file], { env: environment(folder) })
  const device = stdout.trim()

  // nbdfuse trims where the kernel wants zeros, and nbdkit's cache does not see what is trimmed: old bytes would show
  // where there should be zeros. So nothing is trimmed, and ext4 is told not to zero behind the back of its own log.
  await writeFile(`/sys/block/${basename(device)}/queue/discard_max_bytes`, '0')
  const options = mountOptions.length > 0 ? ['-o', mountOptions.join(',')] : []
  await run('mount', ['-t', kind, ...options, device, join(folder, 'mounted')])
  if (kind === 'ext4') await writeFile(`/sys/fs/ext4/${basename(device)}/extent_max_zeroout_kb`, '0')
  return { nbdkit, nbdfuse, device }
}

/** Starts a program that writes the file `<program>.pid` when it is ready. */
async function startDaemon(folder: string, program: string, args: readonly string[]): Promise<ChildProcess> {
  const pidFile = join(folder, `${program}.pid`)
  await rm(pidFile, { force: true })
  const child = spawn(program, args, { cwd: folder, env: environment(folder), stdio: ['ignore', 'ignore', 'pipe'] })
  let printed = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    printed += text
  })
  await until(`${program} is ready`, async () => {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${program} ended: ${printed}`)
    return (await readFile(pidFile, 'utf8').catch(() => '')) !== ''
  })
  return child
}

/** kill -9, unless it has ended already; resolves when it is gone. */
async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

/** The kernel gives back what a killed process had open a moment after it is gone. */
async function unmount(path: string): Promise<void> {
  await until(`${path} can be unmounted`, () =>
    run('umount', [path]).then(
      () => true,
      () => false,
    ),
  )
}

/** nbdkit keeps its cache in a file without a name in TMPDIR. */
function environment(folder: string): NodeJS.ProcessEnv {
  return { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`, TMPDIR: folder }
}
