import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import packageJson from '../../package.json' with { type: 'json' }
import { needs, registry } from '../support/needs.ts'
import { freePort } from '../support/ports.ts'
import { until } from '../support/until.ts'

const repository = fileURLToPath(new URL('../..', import.meta.url))

describe(
  'the packed package, installed into an empty folder without development dependencies',
  needs(registry()),
  () => {
    let folder: string
    let app: string

    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), 'iclood-package-'))
      app = join(folder, 'app')
      mkdirSync(app)

      // Scripts are allowed here, whatever the person who tests has configured: without prepack nothing is compiled.
      const packed = npm(repository, 'pack', '--ignore-scripts=false', '--pack-destination', folder).trim()
      writeFileSync(join(app, 'package.json'), '{"private": true}')
      const tarball = join(folder, packed.split('\n').at(-1) ?? '')
      npm(app, 'install', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', tarball)
    })

    afterAll(() => {
      rmSync(folder, { recursive: true, force: true })
    })

    it('has no compiler, and no source but its own output', () => {
      expect(existsSync(join(app, 'node_modules', 'typescript'))).toBe(false)
      expect(existsSync(join(app, 'node_modules', 'iclood', 'dist', 'main.js'))).toBe(true)
      expect(existsSync(join(app, 'node_modules', 'iclood', 'src'))).toBe(false)
    })

    it('says its version', () => {
      expect(iclood('--version')).toEqual({ status: 0, stdout: `${packageJson.version}\n`, stderr: '' })
    })

    it('explains itself', () => {
      const { status, stdout, stderr } = iclood('--help')
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
      expect(stdout).toMatch(/^Usage: iclood /)
      expect(stdout).toContain('serve')
    })

    it('serves with its own database and stops at SIGTERM', async () => {
      const command = 'serve'
      const port = await freePort()
      const env = {
        ...process.env,
        HOST: '127.0.0.1',
        PORT: String(port),
        DATABASE_URL: '',
        UPLOAD_FOLDER: join(folder, `photos-${command}`),
        DATA_DIR: join(folder, `data-${command}`),
      }
      const server = spawn(join(app, 'node_modules', '.bin', 'iclood'), [command], {
        cwd: app,
        env,
      })
      const closed = once(server, 'close')
      let output = ''
      for (const stream of [server.stdout, server.stderr]) stream.on('data', (text) => (output += text))

      try {
        expect(await ping(port, () => server.exitCode === null), output).toMatchObject({
          status: 'success',
          message: 'iClood server is online',
        })
        server.kill('SIGTERM')
        expect(await closed, output).toEqual([0, null])
      } finally {
        server.kill('SIGKILL')
      }
    })

    /** The command as a person calls it. */
    function iclood(...args: readonly string[]) {
      const { status, stdout, stderr } = spawnSync('npx', ['--no-install', 'iclood', ...args], {
        cwd: app,
        encoding: 'utf8',
        env: { ...process.env, npm_config_loglevel: 'error' },
      })
      return { status, stdout, stderr }
    }
  },
)

function npm(cwd: string, ...args: readonly string[]): string {
  return execFileSync('npm', [...args, '--loglevel=error'], {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

/** Asks until there is an answer, as long as `isAlive`. */
async function ping(port: number, isAlive: () => boolean): Promise<unknown> {
  return until('it answers', async () => {
    if (!isAlive()) return 'the server ended'
    try {
      return await (await fetch(`http://127.0.0.1:${port}/ping`)).json()
    } catch (error) {
      if (!(error instanceof TypeError)) throw error
      return undefined
    }
  })
}
