import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const { isInstalled, satisfies }: Install = createRequire(import.meta.url)('../../scripts/install.cjs')

interface Install {
  isInstalled(root: string, options: { dev: boolean }): boolean
  satisfies(version: string, range: string | undefined): boolean
}

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'iclood-scripts-'))
})

afterEach(() => {
  rmSync(folder, { recursive: true })
})

describe('isInstalled', () => {
  const here = { os: [process.platform], cpu: [process.arch] }
  const a = { version: '1.0.0', integrity: 'sha512-a' }
  const b = { version: '2.0.0', integrity: 'sha512-b', dev: true }

  /** Tells whether `installed` does for what the lock file wants. */
  function judge(wanted: object, installed: object, { dev = true, folders = Object.keys(installed) } = {}): boolean {
    for (const name of folders) {
      mkdirSync(join(folder, name), { recursive: true })
      writeFileSync(join(folder, name, 'package.json'), '{}')
    }
    mkdirSync(join(folder, 'node_modules'), { recursive: true })
    writeFileSync(join(folder, 'package-lock.json'), JSON.stringify({ packages: { '': {}, ...wanted } }))
    writeFileSync(join(folder, 'node_modules', '.package-lock.json'), JSON.stringify({ packages: installed }))
    return isInstalled(folder, { dev })
  }

  it('holds of exactly what the lock file names', () => {
    const packages = { 'node_modules/a': a, 'node_modules/b': b }
    expect(judge(packages, packages)).toBe(true)
  })

  it('does not mind what is there besides', () => {
    expect(judge({ 'node_modules/a': a }, { 'node_modules/a': a, 'node_modules/c': a })).toBe(true)
  })

  it('does not hold before the first install, nor after one that was interrupted', () => {
    cpSync(join(repository, 'package-lock.json'), join(folder, 'package-lock.json'))
    expect(isInstalled(folder, { dev: false })).toBe(false)
    mkdirSync(join(folder, 'node_modules', 'fastify'), { recursive: true })
    expect(isInstalled(folder, { dev: false })).toBe(false)
  })

  it.each([
    ['another version', { ...a, version: '1.0.1' }],
    ['other bytes', { ...a, integrity: 'sha512-x' }],
  ])('does not hold of %s', (_, found) => {
    expect(judge({ 'node_modules/a': a }, { 'node_modules/a': found })).toBe(false)
  })

  it('does not hold when a package is missing from the list or from the disk', () => {
    expect(judge({ 'node_modules/a': a }, {})).toBe(false)
    expect(judge({ 'node_modules/a': a }, { 'node_modules/a': a }, { folders: [] })).toBe(false)
  })

  it('asks for development dependencies only where they are used', () => {
    expect(judge({ 'node_modules/b': b }, {}, { dev: false })).toBe(true)
    expect(judge({ 'node_modules/b': b }, {}, { dev: true })).toBe(false)
  })

  it.each([
    ['for this machine', here, false],
    ['for another processor', { ...here, cpu: ['s390'] }, true],
    ['for another system', { ...here, os: ['plan9'] }, true],
    ['for everything but this system', { os: [`!${process.platform}`] }, true],
    ['for a Node that this is not', { ...here, engines: { node: '>=1000' } }, true],
    ['for another libc', { ...here, os: ['linux'], libc: ['bionic'] }, true],
    ['for no machine in particular', {}, true],
  ])('can do without an optional package %s: %s', (_, machine, expected) => {
    expect(judge({ 'node_modules/a': { ...a, ...machine, optional: true } }, {})).toBe(expected)
  })
})

it.each([
  ['20.19.0', '^20.19.0 || >=22.12.0', true],
  ['20.18.9', '^20.19.0 || >=22.12.0', false],
  ['21.7.0', '^20.19.0 || >=22.12.0', false],
  ['22.12.0', '^20.19.0 || >=22.12.0', true],
  ['24.0.0', '>= 14', true],
  ['24.0.0', undefined, true],
])('satisfies: Node %s in the range %s is %s', (version, range, expected) => {
  expect(satisfies(version, range)).toBe(expected)
})

describe('scripts/iclood.cjs', () => {
  beforeEach(() => {
    for (const name of ['bin', 'scripts', 'package.json', 'package-lock.json', 'tsconfig.json']) {
      cpSync(join(repository, name), join(folder, name), { recursive: true })
    }
    symlinkSync(join(repository, 'node_modules'), join(folder, 'node_modules'))
    mkdirSync(join(folder, 'src'))
  })

  const main = (text: string) => writeFileSync(join(folder, 'src', 'main.ts'), text)
  const printing = (word: string) =>
    `console.log('${word}', ...process.argv.slice(2), process.env['UV_THREADPOOL_SIZE'])\n`

  async function start(...args: readonly string[]) {
    const child = spawn(process.execPath, [join(folder, 'scripts', 'iclood.cjs'), ...args], {
      cwd: tmpdir(),
      env: { ...process.env, UV_THREADPOOL_SIZE: '' },
    })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (text) => (stdout += text))
    child.stderr.on('data', (text) => (stderr += text))
    const [status] = await once(child, 'close')
    return { status, stdout, stderr }
  }

  it('compiles at the first start and not at the second', async () => {
    main(printing('one'))
    writeFileSync(join(folder, 'src', 'page.html'), 'hello')
    expect(await start('serve')).toEqual({ status: 0, stdout: 'one serve 8\n', stderr: 'Compiling…\n' })
    expect(await start('serve')).toEqual({ status: 0, stdout: 'one serve 8\n', stderr: '' })
    expect(existsSync(join(folder, 'dist', 'page.html'))).toBe(true)
  })

  it('compiles again when a source has changed, been added or gone', async () => {
    main(printing('one'))
    await start()
    main(printing('two'))
    expect(await start()).toMatchObject({ stdout: 'two 8\n', stderr: 'Compiling…\n' })
    writeFileSync(join(folder, 'src', 'extra.ts'), 'export {}\n')
    expect(await start()).toMatchObject({ stderr: 'Compiling…\n' })
    rmSync(join(folder, 'src', 'extra.ts'))
    expect(await start()).toMatchObject({ stderr: 'Compiling…\n' })
    expect(existsSync(join(folder, 'dist', 'extra.js'))).toBe(false)
  })

  it('says so when the sources do not compile, and keeps what was compiled before', async () => {
    main(printing('one'))
    await start()
    main('const number: number = "text"\n')
    const { status, stdout, stderr } = await start()
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toContain('src/main.ts(1,7)')
    expect(stderr).toContain('src does not compile')
    main(printing('one'))
    expect(await start()).toEqual({ status: 0, stdout: 'one 8\n', stderr: '' })
  })

  it('can be started several times at once, and leaves nothing but dist', async () => {
    main(printing('one'))
    mkdirSync(join(folder, 'dist.4194305'))
    const results = await Promise.all([start(), start(), start()])
    for (const result of results) expect(result).toMatchObject({ status: 0, stdout: 'one 8\n' })
    expect(readdirSync(folder).filter((name) => name.startsWith('dist'))).toEqual(['dist'])
  })

  it("has the program's own exit code", async () => {
    main('process.exit(78)\n')
    expect(await start()).toMatchObject({ status: 78 })
  })
})
