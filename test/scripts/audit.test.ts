import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const script = join(import.meta.dirname, '../../scripts/audit.cjs')

interface Audit {
  strangeLicences(root: string): { path: string; licence: string }[]
}

interface Weaknesses {
  isBad: boolean
  summary: string
  details: string
}

const { strangeLicences }: Audit = createRequire(import.meta.url)(script)

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'iclood-audit-'))
})

afterEach(() => {
  rmSync(folder, { recursive: true })
})

/** Writes the lock of a project with these packages, and those that have a `license` into its node_modules. */
function lock(packages: Record<string, { license?: unknown; entry?: object }>): void {
  const entries = Object.entries(packages).map(([name, { license, entry }]) => {
    if (license !== undefined) {
      mkdirSync(join(folder, 'node_modules', name), { recursive: true })
      writeFileSync(
        join(folder, 'node_modules', name, 'package.json'),
        JSON.stringify({ name, version: '1.0.0', license }),
      )
    }
    return [`node_modules/${name}`, { version: '1.0.0', ...entry }]
  })
  const dependencies = Object.fromEntries(Object.keys(packages).map((name) => [name, '1.0.0']))
  const root = { name: 'household', version: '1.0.0', dependencies }
  writeFileSync(join(folder, 'package.json'), JSON.stringify(root))
  const all = { ...root, lockfileVersion: 3, requires: true, packages: { '': root, ...Object.fromEntries(entries) } }
  writeFileSync(join(folder, 'package-lock.json'), JSON.stringify(all))
}

describe('licences of what users get', () => {
  it.each([['MIT'], ['Apache-2.0'], ['(GPL-3.0 OR MIT)'], [{ type: 'ISC' }]])('may be %j', (license) => {
    lock({ a: { license } })
    expect(strangeLicences(folder)).toEqual([])
  })

  it.each([['GPL-3.0-only'], ['(MIT AND GPL-3.0)'], ['SEE LICENSE IN x'], ['UNLICENSED'], [''], [null], ['mit-ish']])(
    'may not be %j',
    (license) => {
      lock({ a: { license: 'MIT' }, b: { license } })
      expect(strangeLicences(folder).map(({ path }) => path)).toEqual(['node_modules/b'])
    },
  )

  it('are asked of packages of packages, and of those for other machines, and not of tools', () => {
    lock({
      'a/node_modules/b': { license: 'AGPL-3.0' },
      mac: { entry: { optional: true, license: 'GPL-2.0' } },
      windows: { entry: { optional: true, license: 'MIT' } },
      bare: { entry: { optional: true } },
      tool: { license: 'GPL-3.0', entry: { dev: true } },
    })
    expect(strangeLicences(folder)).toEqual([
      { path: 'node_modules/a/node_modules/b', licence: 'AGPL-3.0' },
      { path: 'node_modules/mac', licence: 'GPL-2.0' },
      { path: 'node_modules/bare', licence: 'unknown' },
    ])
  })
})

describe('the registry', () => {
  let server: Server | undefined

  afterEach(() => {
    server?.closeAllConnections()
    server?.close()
  })

  /** Asks a registry that answers like this. In a thread, since it waits for npm without serving anybody. */
  async function ask(answer: RequestListener, limitMs = 120_000): Promise<Weaknesses> {
    lock({ a: { license: 'MIT' } })
    server = createServer(answer).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const registry = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const thread = new Worker(
      `const { parentPort, workerData: [script, root, limit] } = require('node:worker_threads')
       parentPort.postMessage(require(script).weaknesses(root, limit))`,
      {
        eval: true,
        workerData: [script, folder, limitMs],
        env: { ...process.env, npm_config_registry: registry, npm_config_cache: join(folder, 'cache') },
      },
    )
    const [found] = await once(thread, 'message')
    return found
  }

  const advisory = (severity: string) => ({
    a: [{ id: 7, url: 'https://example.org/7', title: 'It reads too much', severity, vulnerable_versions: '<2.0.0' }],
  })
  const tells = (advisories: object): RequestListener => {
    return (request, response) => {
      if (request.url?.endsWith('/bulk')) response.end(JSON.stringify(advisories))
      else response.writeHead(404).end('{}')
    }
  }

  it('that knows of no weakness is content', async () => {
    expect(await ask(tells({}))).toMatchObject({ isBad: false, summary: expect.stringContaining('0 critical, 0 high') })
  })

  it.each(['high', 'critical'])(
    'that knows of a weakness that is %s makes it fail, and leaves the lock as it is',
    async (severity) => {
      const asked = ask(tells(advisory(severity)))
      const before = readFileSync(join(folder, 'package-lock.json'), 'utf8')
      const found = await asked
      expect(found).toMatchObject({ isBad: true, details: expect.stringContaining('It reads too much') })
      expect(readFileSync(join(folder, 'package-lock.json'), 'utf8')).toBe(before)
    },
  )

  it('that knows of a lesser weakness has it counted', async () => {
    expect(await ask(tells(advisory('moderate')))).toMatchObject({
      isBad: false,
      summary: expect.stringContaining('1 moderate'),
    })
  })

  it.each<[string, RequestListener, number | undefined]>([
    ['refuses', (_, response) => response.writeHead(405).end(), undefined],
    ['answers nonsense', (_, response) => response.end('<html>'), undefined],
    ['is silent', () => {}, 3_000],
  ])('that %s is no failure, and is named in one line', async (_, answer, limitMs) => {
    const { isBad, summary } = await ask(answer, limitMs)
    expect(isBad).toBe(false)
    expect(summary).toMatch(/^npm audit: not done, since the registry does not tell \([^\n]+\)\.$/)
  })
})
