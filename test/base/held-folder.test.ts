import { chmod, chown, mkdir, readdir, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { Binaries } from '../../src/postgres/binaries.ts'
import { initializeCluster } from '../../src/postgres/initialize.ts'
import type { Launcher } from '../../src/postgres/launcher.ts'
import { needs, root } from '../support/needs.ts'
import { silentLog } from '../support/postgres.ts'
import { makeFolder } from '../support/server.ts'

/**
 * Where a link to `target` is put in the place of a folder, as soon as one whose name begins so is made or looked at.
 */
const attack = vi.hoisted(() => ({ prefix: '', target: '', count: 0 }))

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>()
  const swap = async (path: string) => {
    if (attack.prefix === '' || !basename(path).startsWith(attack.prefix)) return
    attack.count++
    await real.rename(path, `${path}.moved`)
    await real.symlink(attack.target, path)
  }
  return {
    ...real,
    mkdtemp: async (prefix: string) => {
      const path = await real.mkdtemp(prefix)
      await swap(path)
      return path
    },
    lstat: async (path: string) => {
      const found = await real.lstat(path)
      await swap(path)
      return found
    },
  }
})

// Loaded before this file, with what it uses as it is.
vi.resetModules()
const { acquireProcessLock, keepLocksIn } = await import('../../src/base/process-lock.ts')

describe('root, with a DATA_DIR whose owner puts links in the place of folders,', needs(root()), () => {
  const STRANGER = 1234
  let dataDir: string
  let target: string
  beforeEach(async () => {
    attack.prefix = ''
    dataDir = await makeFolder()
    target = await makeFolder()
    await chmod(target, 0o755)
    await chown(dataDir, STRANGER, STRANGER)
    keepLocksIn(dataDir)
    Object.assign(attack, { target, count: 0 })
  })

  async function expectUntouched(): Promise<void> {
    expect(attack.count).toBe(1)
    const { uid, gid, mode } = await stat(target)
    expect({ uid, gid, mode: mode & 0o777 }).toEqual({ uid: 0, gid: 0, mode: 0o755 })
    expect(await readdir(target)).toEqual([])
  }

  it('gives nobody another folder when it makes the one for locks', async () => {
    attack.prefix = '.locks.'
    await expect(acquireProcessLock('a')).rejects.toMatchObject({ code: 'internal_error' })
    await expectUntouched()
  })

  it('closes no other folder than that for locks', async () => {
    await mkdir(join(dataDir, '.locks'), { mode: 0o755 })
    attack.prefix = '.locks'
    await acquireProcessLock('a').catch(() => {})
    await expectUntouched()
  })

  it('makes no lock in another folder', async () => {
    await (await acquireProcessLock('a'))?.release()
    attack.prefix = 'iclood-'
    await expect(acquireProcessLock('b')).rejects.toMatchObject({ code: 'internal_error' })
    await expectUntouched()
  })

  it('gives the account of the database no other folder', async () => {
    attack.prefix = 'postgres.new-'
    const launcher = { account: { uid: STRANGER, gid: STRANGER } } as Launcher
    const made = initializeCluster(join(dataDir, 'postgres'), { initdb: 'none' } as Binaries, launcher, silentLog)
    await expect(made).rejects.toThrow()
    await expectUntouched()
  })
})
