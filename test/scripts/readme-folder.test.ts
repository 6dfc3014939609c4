import { spawnSync } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { originalsIn } from '../support/drives.ts'
import { jpeg } from '../support/media.ts'
import { command, needs } from '../support/needs.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'

const NAMES = [
  'plain.jpg',
  'say "hi".jpg',
  '"quoted".jpg',
  "it's.jpg",
  'two words.jpg',
  ' blank.jpg',
  'two\nlines.jpg',
  'carriage\rreturn.jpg',
  'back\\slash.jpg',
  'back\\"both.jpg',
  'semi;colon, comma=x.jpg',
  'a;type=text.jpg',
  '100%.jpg',
  'a%20b.jpg',
  '$HOME `id` $(id).jpg',
  'star*?[a].jpg',
  '{}.jpg',
  '-rf.jpg',
  '@at<less>.jpg',
  '照片 ☀️ é.jpg',
  'UPPER.JPEG',
  '&.jpg',
  '!.jpg',
]

let folder: string
let pictures: string
let server: TestServer
let text: string
beforeAll(async () => {
  folder = await makeFolder()
  pictures = join(folder, 'my "Pictures"')
  server = await startServer(folder)
  text = commandIn(await readFile(join(import.meta.dirname, '../../README.md'), 'utf8'))
    .replace('~/Pictures', '"$PICTURES"')
    .replace('http://raspberrypi.local:8080', server.url)
})
afterAll(async () => {
  await server.stop()
  await removeFolder(folder)
})

/** The README's command for a whole folder. */
function commandIn(readme: string): string {
  const [, found = ''] = readme.slice(readme.indexOf('A whole folder')).split(/```(?:sh)?\n/)
  return found
}

const run = (shell: string) =>
  spawnSync(shell, ['-c', text], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], PICTURES: pictures, HOME: folder },
  })

describe.each(['sh', 'bash', 'zsh'])('the README’s command for a whole folder, in %s', (shell) => {
  it('sends every file, whatever its name', needs(command('curl', 'curl'), command(shell, shell)), async () => {
    await mkdir(join(pictures, 'sub "folder"'), { recursive: true })
    const sent = [...NAMES, 'sub "folder"/deep.jpg'].map((name) => ({
      name,
      bytes: jpeg({ seed: `${shell} ${name}` }),
    }))
    for (const { name, bytes } of sent) await writeFile(join(pictures, name), bytes)
    expect(run(shell)).toMatchObject({ status: 0, stdout: '', stderr: '' })

    const paths = await originalsIn(server.library)
    const stored = new Set(
      await Promise.all(paths.map(async (path) => (await readFile(join(server.library, path))).toString('latin1'))),
    )
    for (const { name, bytes } of sent) expect(stored.has(bytes.toString('latin1')), name).toBe(true)

    // Again, it stores nothing.
    expect(run(shell)).toMatchObject({ status: 0 })
    expect(await originalsIn(server.library)).toHaveLength(paths.length)
    await rm(pictures, { recursive: true })
  })

  it(
    'names what it could not send, sends the rest and fails',
    needs(command('curl', 'curl'), command(shell, shell)),
    async () => {
      await mkdir(pictures, { recursive: true })
      const before = (await originalsIn(server.library)).length
      for (const name of ['a.jpg', 'z.jpg'])
        await writeFile(join(pictures, name), jpeg({ seed: `${shell} rest ${name}` }))
      // The server takes no empty file.
      await writeFile(join(pictures, 'say "nothing".jpg'), '')
      const { status, stderr } = run(shell)
      expect(status).not.toBe(0)
      expect(stderr).toContain(`not backed up: ${pictures}/say "nothing".jpg\n`)
      expect(stderr.match(/not backed up/g)).toHaveLength(1)
      expect(await originalsIn(server.library)).toHaveLength(before + 2)
      await rm(pictures, { recursive: true })
    },
  )
})
