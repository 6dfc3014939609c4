import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { command, needs } from '../support/needs.ts'

describe('deploy/iclood.service', () => {
  const original = readFileSync(fileURLToPath(new URL('../../deploy/iclood.service', import.meta.url)), 'utf8')
  let folder: string
  let unit: string

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'iclood-unit-'))
    unit = join(folder, 'iclood.service')
    // systemd looks whether the command is there, and not every machine has its Node in /usr/bin.
    writeFileSync(unit, original.replace('ExecStart=/usr/bin/node ', `ExecStart=${process.execPath} `))
  })

  afterAll(() => {
    rmSync(folder, { recursive: true })
  })

  it('is a unit that systemd understands, every line of it', needs(systemd(240)), () => {
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', unit], { encoding: 'utf8' })
    // It names a setting that it doesn't know, but counts that as a success.
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' })
  })

  it('gives the server no more than it needs', needs(systemd(250)), () => {
    // 20 stands for an exposure of 2.0 of 10, which systemd calls OK. A unit that protects nothing has 9.6.
    const args = ['security', '--offline=true', '--threshold=20', '--no-pager', unit]
    const { status, stdout } = spawnSync('systemd-analyze', args, { encoding: 'utf8' })
    expect(stdout).toContain('Overall exposure level')
    expect(status, stdout).toBe(0)
  })
})

/** Needs systemd's tools in this version or a later one. */
function systemd(version: number): string | undefined {
  const missing = command('systemd-analyze', 'systemd')
  if (missing !== undefined) return missing
  const { stdout } = spawnSync('systemd-analyze', ['--version'], { encoding: 'utf8' })
  return Number(/\d+/.exec(stdout)?.[0]) >= version ? undefined : `systemd ${version}`
}
