import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { withResolvers } from '../../src/base/resolvers.ts'
import { command, root } from './needs.ts'
import { until } from './wire.ts'

const SYSTEMD = '/lib/systemd/systemd'

/** A machine with a systemd of its own: this one’s programs and network, and nothing of what it writes. */
export interface TestMachine {
  /** Runs a script of bash on it, as root. */
  run(script: string): Promise<{ code: number; stdout: string; stderr: string }>
  /** What the service has said. */
  journal(unit: string): Promise<string>
  /** Ends it and all that runs on it. Idempotent. */
  stop(): Promise<void>
}

/**
 * Makes a root file system that takes whatever is written and forgets it, and starts systemd in it as process 1. `$1`
 * is an empty folder, `$2` what is mounted as /opt/iclood.
 */
const BOOT = `
  set -e
  mount --make-rprivate /
  mount -t tmpfs tmpfs "$1"
  mkdir "$1"/upper "$1"/work "$1"/root
  mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
  cd "$1/root"
  rm -rf opt/iclood mnt/* var/lib/iclood
  mkdir -p opt/iclood mnt old
  mount --rbind "$2" opt/iclood
  mount -t proc proc proc
  # Read-only, it makes systemd do without udev, and devices be there when their files are.
  mount -t sysfs -o ro sysfs sys
  mount -t tmpfs tmpfs sys/fs/cgroup
  if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
  else
    mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
    mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
  fi
  for folder in run tmp var/tmp; do mount -t tmpfs -o mode=1777 tmpfs $folder; done
  mount -t tmpfs -o mode=755 tmpfs dev
  mkdir -p dev/disk/by-uuid dev/shm dev/pts dev/mqueue
  mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts; ln -s pts/ptmx dev/ptmx
  mknod -m 666 dev/tty c 5 0
  mknod -m 666 dev/null c 1 3; mknod -m 666 dev/zero c 1 5; mknod -m 666 dev/full c 1 7
  mknod -m 666 dev/random c 1 8; mknod -m 666 dev/urandom c 1 9; mknod -m 600 dev/console c 1 3
  ln -s /proc/self/fd dev/fd
  ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
  # Of all that a system starts by itself, the log alone.
  rm -rf etc/systemd/system; mkdir -p etc/systemd/system
  find usr/lib/systemd/system -path '*.wants/*' ! -name 'systemd-journald*' -delete
  : > etc/fstab
  # systemd takes this for a container, where it passes over the drives in fstab. They are what this is about.
  cat > usr/lib/systemd/system-generators/systemd-fstab-generator <<'GENERATOR'
#!/bin/bash
while read -r what where type options _; do
  case $what in
    UUID=*) what=/dev/disk/by-uuid/\${what#UUID=} ;;
    /*) ;;
    *) continue ;;
  esac
  printf '%s\\n' '[Unit]' SourcePath=/etc/fstab '[Mount]' "What=$what" "Where=$where" "Type=$type" "Options=$options" \\
    > "$1/$(systemd-escape --path --suffix=mount "$where")"
done < /etc/fstab
GENERATOR
  chmod 755 usr/lib/systemd/system-generators/systemd-fstab-generator
  mount --bind proc/sys proc/sys; mount -o remount,bind,ro proc/sys
  printf '#!/bin/sh\\nexec "$@"\\n' > usr/local/bin/sudo; chmod 755 usr/local/bin/sudo
  pivot_root . old
  umount -l /old
  # As systemd has it where it is not told to be in a container: what is mounted later reaches the services.
  mount --make-rshared /
  exec env -i container=test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
    ${SYSTEMD} --system --show-status=no --unit=basic.target < /dev/null
`

/** Where cgroups may be mounted: of version 2, or both side by side. */
const CGROUPS = ['/sys/fs/cgroup', '/sys/fs/cgroup/systemd', '/sys/fs/cgroup/unified']

/**
 * Runs what follows `$1` in namespaces of its own, and in a cgroup of that name: what is made there can be found and
 * removed.
 */
const ENTER = `
  set -e
  for cgroup in ${CGROUPS.join(' ')}; do
    if [ -e $cgroup/cgroup.procs ]; then mkdir -p $cgroup/$1; echo $$ > $cgroup/$1/cgroup.procs; fi
  done
  shift
  exec unshare --pid --fork --kill-child --mount --uts --ipc --cgroup bash -c "$@"
`

/** Needs what it takes to start a systemd of one’s own. */
export function ownSystemd(): string | undefined {
  const missing =
    root() ?? command('systemd', 'systemd') ?? command('nsenter', 'util-linux') ?? command('setpriv', 'util-linux')
  if (missing !== undefined) return missing
  const trial = 'mount -t tmpfs t /run; cd /run; mkdir u w r; mount -t overlay o -o lowerdir=/,upperdir=u,workdir=w r'
  const name = `iclood-trial-${process.pid}`
  const { status } = spawnSync('bash', ['-c', ENTER, 'enter', name, `set -e; ${trial}`])
  removeCgroups(name)
  return status === 0 ? undefined : 'the right to make namespaces and mount in them'
}

/** Returns whether all are gone; one with a process in it, be it a dying one, is not. */
function removeCgroups(name: string): boolean {
  const folders = CGROUPS.map((folder) => join(folder, name)).filter((folder) => existsSync(folder))
  if (folders.length > 0) spawnSync('find', [...folders, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', '+'])
  return folders.every((folder) => !existsSync(folder))
}

/** Starts a machine on which `program` (absolute) is /opt/iclood. */
export async function bootMachine(program: string): Promise<TestMachine> {
  const place = mkdtempSync(join(tmpdir(), 'iclood-machine-'))
  // Whatever ends this process ends the machine.
  const wrapped = ['--pdeathsig', 'KILL', 'bash', '-c', ENTER, 'enter', basename(place), BOOT, 'boot', place, program]
  const outer = spawn('setpriv', wrapped, { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [outer.stdout, outer.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
  }
  const stop = () => end(outer, place)
  try {
    const pid = await until('the machine is up', async () => {
      if (outer.exitCode !== null) throw new Error(`the machine did not start: ${said}`)
      const init = await childOf(outer)
      if (init === undefined) return undefined
      const { stdout } = await inside(init, 'systemctl is-system-running')
      return /running|degraded/.test(stdout) ? init : undefined
    })
    return {
      run: (script) => inside(pid, script),
      journal: async (unit) => (await inside(pid, `journalctl --unit ${unit} --output cat --no-pager`)).stdout,
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function end(outer: ChildProcess, place: string): Promise<void> {
  if (outer.exitCode === null && outer.signalCode === null) {
    outer.kill('SIGKILL')
    await once(outer, 'exit')
  }
  await until('its last process is gone', async () => removeCgroups(basename(place)))
  rmSync(place, { recursive: true, force: true })
}

/** The process 1 of the machine; `undefined` before it has become systemd. */
async function childOf({ pid }: ChildProcess): Promise<number | undefined> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  const child = Number(children.trim().split(' ')[0])
  if (!Number.isInteger(child) || child === 0) return undefined
  const name = await readFile(`/proc/${child}/comm`, 'utf8').catch(() => '')
  return name.trim() === 'systemd' ? child : undefined
}

async function inside(pid: number, script: string): Promise<{ code: number; stdout: string; stderr: string }> {
  const args = [
    '--target',
    String(pid),
    '--all',
    'env',
    '-i',
    `PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
  ]
  const { promise, resolve } = withResolvers<{ code: number; stdout: string; stderr: string }>()
  execFile('nsenter', [...args, 'bash', '--norc', '-c', script], (error, stdout, stderr) =>
    resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
  )
  return promise
}
