import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { drive } from '../support/drives.ts'
import { jpeg } from '../support/media.ts'
import { needs } from '../support/needs.ts'
import { get, upload } from '../support/phone.ts'
import { freePort } from '../support/ports.ts'
import { startReceiver, type TestReceiver } from '../support/receiver.ts'
import { bootMachine, ownSystemd, type TestMachine } from '../support/systemd.ts'
import { until } from '../support/wire.ts'

const PROJECT = fileURLToPath(new URL('../..', import.meta.url))
const README = readFileSync(join(PROJECT, 'README.md'), 'utf8')

/** The commands under that heading of the README's chapter on the Pi, block by block. */
function commandsUnder(heading: string): string[] {
  const [, section = ''] = README.split(`\n### ${heading}\n`)
  return [...(section.split(/\n##+ /)[0] ?? '').matchAll(/```sh\n(.*?)```/gs)].map(([, block = '']) => block)
}

const devices: string[] = []
const unplugAll = () => {
  for (const device of devices.splice(0)) spawnSync('losetup', ['-d', device])
}
// A run that is cut short must not leave devices behind either.
process.on('exit', unplugAll)

describe('the service under systemd', needs(ownSystemd(), drive('ext4')), () => {
  let folder: string
  let machine: TestMachine
  let receiver: TestReceiver
  let url: string
  let photos: string
  let mirror: string

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'iclood-service-'))
    photos = makeDevice('photos')
    mirror = makeDevice('mirror')
    receiver = await startReceiver()
    url = `http://127.0.0.1:${await freePort()}`
    machine = await bootMachine(PROJECT)
  })
  afterAll(async () => {
    await machine?.stop()
    await receiver?.stop()
    unplugAll()
    rmSync(folder, { recursive: true, force: true })
  })

  // What it said tells why.
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') console.error(await machine.journal('iclood'))
  })

  /** Makes an empty drive; returns its device. */
  function makeDevice(name: string): string {
    const image = join(folder, name)
    writeFileSync(image, '')
    truncateSync(image, 64 * 1024 * 1024)
    const device = execFileSync('losetup', ['-f', '--show', image], { encoding: 'utf8' }).trim()
    devices.push(device)
    return device
  }

  const run = async (script: string) => {
    const result = await machine.run(`set -e\n${script}`)
    expect(result, script).toEqual({ ...result, code: 0 })
    return result.stdout
  }
  /** As the kernel and udev do, under the name that a real drive has. */
  const plugIn = (device: string, name: string) =>
    run(`[ -e /dev/${name} ] || mknod /dev/${name} b 7 ${device.replace('/dev/loop', '')}
      uuid=$(blkid -s UUID -o value /dev/${name} || true)
      if [ -n "$uuid" ]; then ln -sf ../../${name} /dev/disk/by-uuid/$uuid; fi`)
  const health = async () => (await get(url, '/library/health')).body
  const send = async (seed: string) => upload(url, jpeg({ seed, date: '2024:07:01 12:00:00' }), { name: `${seed}.JPG` })
  const isRunning = async () => (await machine.run('systemctl is-active iclood')).stdout.trim()
  const untilAnswers = () =>
    until('it answers', async () => (await get(url, '/ping').catch(() => undefined))?.status === 200)
  /** What those who keep the server were told, in order. */
  const told = () => receiver.received.filter(({ method }) => method === 'POST').map(({ body }) => JSON.parse(body))
  const heartbeats = () => receiver.received.filter(({ method }) => method === 'GET').length

  it('is set up by the README’s commands and takes photos', async () => {
    // Not every machine has its Node there.
    await run(`[ -x /usr/bin/node ] || cp ${process.execPath} /usr/bin/node`)
    await plugIn(photos, 'sda1')
    const [account = '', , format = '', mount = ''] = commandsUnder('3. The drive')
    await run(account)
    // A disk as a whole is not there, only its partition.
    await run(format.replace(/^sudo parted.*\n/m, ''))
    await plugIn(photos, 'sda1')
    await run(mount)
    expect(await run('systemctl show mnt-photos.mount -P FragmentPath')).toContain('generator')

    const [, settings = '', service = ''] = commandsUnder('4. iClood')
    await run(settings)
    const to = `127.0.0.1:${receiver.port}`
    await run(`cat >> /etc/iclood.env <<< "PORT=${new URL(url).port}
HOST=127.0.0.1
MIN_FREE_SPACE=1
NOTIFY_URL=http://${to}/hook
HEARTBEAT_URL=http://${to}/beat
MIRROR_FOLDER=/var/mirror"`)
    await run(`cd /opt/iclood\n${service}`)
    await untilAnswers()
    await until('it takes photos', async () => (await send('first')).status === 201)
    expect(await run('cat /mnt/photos/2024/07/first.JPG | wc -c')).not.toBe('0\n')
    expect(await run('stat -c %U /mnt/photos/2024/07/first.JPG')).toBe('iclood\n')
  })

  it('says of a second copy outside the unit’s ReadWritePaths that it can’t be written there, and why', async () => {
    const { mirror: state } = await until('the mirror is looked at', async () => (await health()).mirror && health())
    expect(state).toMatchObject({ state: 'error', reason: expect.stringMatching(/read-only.*ReadWritePaths/) })
    expect(await until('somebody is told', async () => told().find(({ key }) => key === 'mirror_error'))).toMatchObject(
      {
        message: expect.stringMatching(/read-only.*ReadWritePaths/),
      },
    )
    await until('the heart beats: photos are safe', async () => heartbeats() > 0)
  })

  it('keeps a second copy on another drive; one that belongs to somebody else is refused by name', async () => {
    await plugIn(mirror, 'sdb1')
    await run('mkfs.ext4 -q /dev/sdb1; mkdir /mnt/mirror; mount /dev/sdb1 /mnt/mirror')
    await run(`sed -i '/MIRROR_FOLDER/d' /etc/iclood.env`)
    const block = [...README.matchAll(/```sh\n(.*?)```/gs)].find(([, text]) => text?.includes('MIRROR_FOLDER=/mnt'))
    await run(block?.[1] ?? 'false')
    await untilAnswers()
    const uid = (await run('id -u iclood')).trim()
    await until('it says who may not write', async () =>
      (await health()).mirror?.reason?.includes(`the account iclood (uid ${uid})`),
    )
    await run('chown -R iclood: /mnt/mirror')
    await until('the copy is there', async () => (await health()).mirror?.state === 'ok')
    expect(await run('cmp /mnt/photos/2024/07/first.JPG /mnt/mirror/2024/07/first.JPG')).toBe('')
  })

  it.each([
    ['as a cable that comes loose', 'umount --lazy /mnt/photos'],
    ['as systemd does when its device is gone', 'systemctl stop mnt-photos.mount'],
  ])('runs on when its drive is pulled %s, has somebody told, and goes on when it is back', async (_, pull) => {
    const before = told().length
    await run(pull)
    await until('somebody is told', async () =>
      told()
        .slice(before)
        .some(({ key }) => key === 'drive_missing'),
    )
    expect(await isRunning()).toBe('active')
    const { drive, problems } = await health()
    expect(drive).toMatchObject({ present: false, reason: expect.stringContaining('no drive is mounted') })
    expect(problems[0]).toMatchObject({ key: 'drive_missing', severity: 'error' })
    expect(await send(pull)).toMatchObject({ status: 503, body: { code: 'drive_missing' } })
    expect(await run('ls -A /mnt/photos')).toBe('')

    await run('sudo mount /mnt/photos')
    await until('it goes on', async () => (await send(pull)).status === 201)
    await until('somebody is told', async () =>
      told()
        .slice(before)
        .some(({ key, event }) => key === 'drive_missing' && event === 'cleared'),
    )
  })

  it('starts without its drive, writes nothing in its place, and goes on when it is plugged in', async () => {
    await run('systemctl stop iclood')
    await run('umount /mnt/photos; rm /dev/sda1')
    await run('systemctl start iclood')
    await untilAnswers()
    await until('it says what is missing', async () =>
      (await health()).drive?.reason?.includes('no drive is mounted where UPLOAD_FOLDER leads to'),
    )
    expect(await isRunning()).toBe('active')
    expect(await send('third')).toMatchObject({ status: 503, body: { code: 'drive_missing' } })
    expect(await run('ls -A /mnt/photos')).toBe('')

    await plugIn(photos, 'sda1')
    await run('sudo mount /mnt/photos')
    await until('it goes on', async () => (await send('third')).status === 201)
    expect(await run('ls /mnt/photos/2024/07')).toContain('third.JPG')
  })

  it('has bounds on memory and tasks, and what it makes is not for all', async () => {
    const shown = await run('systemctl show iclood -p MemoryMax,TasksMax,WatchdogUSec,UMask')
    expect(shown.trim().split('\n').toSorted()).toEqual([
      'MemoryMax=805306368',
      'TasksMax=256',
      'UMask=0027',
      'WatchdogUSec=2min',
    ])
    expect(await run('stat -c %a /mnt/photos/2024/07 /mnt/photos/2024/07/third.JPG')).toBe('750\n640\n')
  })

  describe('its watchdog', () => {
    const restarts = async () => Number(await run('systemctl show iclood -P NRestarts'))
    const pid = async () => (await run('systemctl show iclood -P MainPID')).trim()
    const fedAt = () => run('systemctl show iclood -P WatchdogTimestampMonotonic')

    beforeAll(async () => {
      // Enough for a busy machine; the unit's own two minutes would be a long wait for each test.
      await run(`mkdir -p /etc/systemd/system/iclood.service.d
        echo "process.on('SIGUSR2', () => { for (;;); })" > /opt/spin.cjs
        printf '[Service]\\nWatchdogSec=12\\nEnvironment=NODE_OPTIONS=--require=/opt/spin.cjs\\n' > /etc/systemd/system/iclood.service.d/quick.conf
        systemctl daemon-reload; systemctl restart iclood`)
      await untilAnswers()
    })

    it('leaves a server alone that is busy', async () => {
      const before = { restarts: await restarts(), pid: await pid() }
      for (let fed = 0, last = await fedAt(); fed < 3; ) {
        await send(`busy-${fed}`)
        const now = await fedAt()
        if (now !== last) fed++
        last = now
      }
      expect({ restarts: await restarts(), pid: await pid() }).toEqual(before)
    })

    it.each([
      ['has stopped', 'STOP'],
      ['does something without end', 'USR2'],
    ])('ends one that %s, and it is started again', async (_, signal) => {
      const before = { restarts: await restarts(), pid: await pid() }
      await run(`kill -${signal} ${before.pid}`)
      await until('it is started again', async () => (await restarts()) > before.restarts)
      await untilAnswers()
      await until('it takes photos', async () => (await send(`after ${signal}`)).status < 300)
      expect(await pid()).not.toBe(before.pid)
    })
  })

  it('is stopped within its time, and the drive can be unmounted', async () => {
    await run('systemctl stop iclood; umount /mnt/photos')
    expect((await machine.run('systemctl show iclood -P Result')).stdout.trim()).toBe('success')
  })
})
