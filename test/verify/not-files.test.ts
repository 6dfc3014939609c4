import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { findFindings } from '../../src/catalogue/findings.ts'
import { describeFinding } from '../../src/cli/verify-report.ts'
import { foundOf } from '../../src/control/found.ts'
import { adoptStrangers } from '../../src/rebuild/strangers.ts'
import { walkFolders } from '../../src/verify/folders.ts'
import { verifyOriginal } from '../../src/verify/verify-original.ts'
import { endsWithTest } from '../support/ends.ts'
import { noise } from '../support/media.ts'
import { type Mirrored, makeMirrored } from '../support/mirrored.ts'
import { command, needs, root as rootUser } from '../support/needs.ts'
import { makeFolder } from '../support/server.ts'

const run = promisify(execFile)

async function listenAt(path: string): Promise<void> {
  const server = createServer().listen(path)
  endsWithTest(() => server.close())
  await once(server, 'listening')
}

const KINDS: [string, (path: string) => Promise<unknown>][] = [
  ['a pipe', (path) => run('mkfifo', [path])],
  // /dev/zero, which is read for ever.
  ['a device', (path) => run('mknod', [path, 'c', '1', '5'])],
  ['a socket', listenAt],
  ['a link', (path) => symlink('/dev/zero', path)],
]

/** A path for it, as short as sockets want it. */
const nameOf = (kind: string) => `2024/07/${kind.slice(2)}.jpg`

describe('what is no file, among the originals', needs(rootUser(), command('mkfifo', 'coreutils')), () => {
  let home: Mirrored
  beforeAll(async () => {
    home = await makeMirrored(join(await makeFolder('/tmp'), 'l'))
    await mkdir(join(home.root, '2024/07/of a person'), { recursive: true })
    for (const [kind, make] of KINDS) await make(join(home.root, nameOf(kind)))
  })

  const walk = async () => {
    const { findings, unknown } = await walkFolders(home.library, {
      isSelected: () => true,
      isWithin: () => true,
      pause: async () => {},
      signal: new AbortController().signal,
    })
    expect(unknown).toHaveLength(findings.length)
    return findFindings(home.db, findings)
  }

  it('is a finding that says what it is, for as long as it is there', async () => {
    await writeFile(join(home.root, '2024/07/file.jpg'), 'a file')
    const findings = await walk()
    expect(Object.fromEntries(findings.map(({ path, kind, found }) => [path, [kind, found]]))).toEqual({
      '2024/07/file.jpg': ['unknown', null],
      ...Object.fromEntries(KINDS.map(([kind]) => [nameOf(kind), ['unknown', kind]])),
    })
    expect(findings.map(foundOf).map(describeFinding).join('\n')).toContain(
      '2024/07/pipe.jpg: it is a pipe, lies among the photos, but was not put there by a backup. Move it elsewhere.',
    )
    await rm(join(home.root, '2024/07/file.jpg'))
    expect(await walk()).toHaveLength(KINDS.length)
  })

  it('is told when the library is rebuilt, and left alone', async () => {
    const told = new Map<string, string>()
    const adopted = await adoptStrangers(home.library, {
      reportTrouble: (path, { message }) => told.set(path, message),
      signal: new AbortController().signal,
    })
    expect(adopted.files).toBe(0)
    expect(Object.fromEntries(told)).toEqual(
      Object.fromEntries(
        KINDS.map(([kind]) => [nameOf(kind), expect.stringContaining(`${nameOf(kind)} is ${kind} and`)]),
      ),
    )
  })

  it.each(KINDS)('in the place of an original makes that unreadable, with the reason: %s', async (kind, make) => {
    const path = await home.put(`2024/08/${kind.slice(2)}.jpg`, noise(100, kind))
    const bytes = await readFile(join(home.root, path))
    await rm(join(home.root, path))
    await make(join(home.root, path))
    const outcome = await verifyOriginal(home.library, path)
    expect(outcome).toMatchObject({ state: 'unreadable' })
    const [finding] = await findFindings(home.db, [outcome?.state === 'unreadable' ? outcome.finding : 0])
    expect(finding).toMatchObject({ kind: 'unreadable', found: `${path} is ${kind}` })
    if (finding !== undefined)
      expect(describeFinding(foundOf(finding))).toContain(`${path}: it is ${kind}, and no file of the library`)
    await rm(join(home.root, path))
    await writeFile(join(home.root, path), bytes)
    expect(await verifyOriginal(home.library, path)).toMatchObject({ state: 'intact', isRestored: true })
  })
})
