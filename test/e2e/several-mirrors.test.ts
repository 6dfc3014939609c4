import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCommand } from '../support/command.ts'
import { jpeg } from '../support/media.ts'
import { isSame, sha256 } from '../support/mirrored.ts'
import { get, post, upload } from '../support/phone.ts'
import { makeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

/* One household with two second copies, story after story. */

let folder: string
let library: string
let mirrors: [string, string]
let server: TestServer
let env: Record<string, string>
beforeAll(async () => {
  folder = await makeFolder()
  library = join(folder, 'photos')
  mirrors = [join(folder, 'one'), join(folder, 'two')]
  env = { UPLOAD_FOLDER: library, MIRROR_FOLDER: mirrors.join(', ') }
  server = await startServer(folder, env)
})
afterAll(() => server.stop())

const bytes = (seed: string) => jpeg({ date: '2024:07:01 12:00:00', size: 20_000, seed: `several ${seed}` })
const health = async () => (await get(server.url, '/library/health')).body
const identityOf = async (root: string) => JSON.parse(await readFile(join(root, '.iclood/library.json'), 'utf8')).id

async function store(seed: string): Promise<string> {
  const fields = { device_id: 'iPhone', original_path: `/${seed}.JPG` }
  const { status, body } = await upload(server.url, bytes(seed), { name: `${seed}.JPG`, fields })
  expect(status).toBe(201)
  return body.backup.file_path
}

const untilStates = (...states: string[]) =>
  until(`the second copies are ${states.join(' and ')}`, async () => {
    const found = (await health()).mirrors.map(({ state }: { state: string }) => state)
    return JSON.stringify(found) === JSON.stringify(states) && (await health())
  })

describe('of two second copies', () => {
  it('each gets every photo, and the health report names both', async () => {
    const path = await store('A')
    const report = await untilStates('ok', 'ok')
    for (const mirror of mirrors) expect(await isSame(path, library, mirror)).toBe(true)
    expect(report.mirrors.map(({ folder: name }: { folder: string }) => name)).toEqual(mirrors)
    expect(report.mirror.state).toBe('ok')
    expect(await identityOf(mirrors[0])).not.toBe(await identityOf(mirrors[1]))
    const text = await (await fetch(`${server.url}/metrics`)).text()
    for (const mirror of mirrors) expect(text).toContain(`iclood_mirror_up{folder="${mirror}"} 1`)
    const note = JSON.parse(await readFile(join(library, '.iclood/mirror.json'), 'utf8'))
    expect(note.mirrors.sort()).toEqual([await identityOf(mirrors[0]), await identityOf(mirrors[1])].sort())
  })

  it('one may be away: the other goes on, and it is told which is missing, and catches up', async () => {
    await rename(mirrors[1], `${mirrors[1]}.away`)
    const report = await until('one is missing', async () => {
      const found = await health()
      return found.mirror?.state === 'missing' && found
    })
    expect(report.problems).toContainEqual(
      expect.objectContaining({ key: `mirror_missing:${mirrors[1]}`, title: expect.stringContaining(mirrors[1]) }),
    )
    const path = await store('B')
    await until('the other has it', () => isSame(path, library, mirrors[0]).catch(() => false))
    const { stdout } = await runCommand(folder, ['mirror', '--json'], env)
    expect(JSON.parse(stdout)).toMatchObject({
      state: 'ok',
      mirrors: [{ state: 'ok' }, { state: 'missing', files_behind: 1 }],
    })
    await rename(`${mirrors[1]}.away`, mirrors[1])
    await untilStates('ok', 'ok')
    expect(await isSame(path, library, mirrors[1])).toBe(true)
  })

  it('a verdict counts three drives, and what the library and one of them have lost comes from the other', async () => {
    const path = await store('C')
    await untilStates('ok', 'ok')
    await rm(join(library, path))
    await writeFile(join(mirrors[0], path), 'rot')
    const { stdout } = await runCommand(folder, ['verify', '--json', '--path', path], env)
    expect(
      JSON.parse(stdout)
        .findings.map(({ copy }: { copy: string }) => copy)
        .sort(),
    ).toEqual(['library', 'mirror'])
    for (const root of [library, ...mirrors]) expect(await readFile(join(root, path))).toEqual(bytes('C'))
    const files = [{ path: '/C.JPG', name: 'C.JPG', sha256: sha256(bytes('C')) }]
    const { body } = await post(server.url, '/photos/verdict', { device_id: 'iPhone', files })
    expect(body.files?.[0] ?? body).toMatchObject({ safe: true, copies: 3 })
  })

  it('a drive that is new in the place of one is written to only when a person says so', async () => {
    await server.stop()
    await rename(mirrors[1], `${mirrors[1]}.old`)
    await mkdir(mirrors[1])
    server = await startServer(folder, env)
    await untilStates('ok', 'missing')
    const ambiguous = await runCommand(folder, ['mirror', '--replace'], env)
    expect(ambiguous).toMatchObject({ code: 2, stderr: expect.stringContaining(mirrors[1]) })
    const { code } = await runCommand(folder, ['mirror', '--replace', mirrors[1]], env)
    expect(code).toBe(0)
    await untilStates('ok', 'ok')
    expect(await isSame('2024/07/A.JPG', library, mirrors[1])).toBe(true)
  })

  it('one whose folder has another name now is not taken for a new one', async () => {
    await server.stop()
    const elsewhere = join(folder, 'elsewhere')
    server = await startServer(folder, { ...env, MIRROR_FOLDER: [mirrors[0], elsewhere].join(',') })
    await untilStates('ok', 'missing')
    await server.stop()
    await rename(mirrors[1], elsewhere)
    const id = await identityOf(elsewhere)
    server = await startServer(folder, { ...env, MIRROR_FOLDER: [elsewhere, mirrors[0]].join(',') })
    await untilStates('ok', 'ok')
    expect(await identityOf(elsewhere)).toBe(id)
  })
})
