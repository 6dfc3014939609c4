import { access, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { runCommand } from '../support/command.ts'
import { jpeg } from '../support/media.ts'
import { get, post, upload } from '../support/phone.ts'
import { makeFolder, startServer } from '../support/server.ts'
import { until } from '../support/wire.ts'

it('a photo that is deleted on both drives and ignored is missed on neither, whichever comes first', async () => {
  const folder = await makeFolder()
  const mirror = join(folder, 'mirror')
  const settings = { MIRROR_FOLDER: mirror }
  const server = await startServer(folder, settings)
  const entries = ['before', 'after', 'accepted'].map((name) => ({
    path: `file:///DCIM/${name}.JPG`,
    id: `${name}/L0/001`,
    created: Date.UTC(2024, 6, 1, 10),
  }))
  const ignore = (entry?: object) => post(server.url, '/photos/ignore', { device_id: 'iPhone', files: [entry] })
  const health = async () => (await get(server.url, '/library/health')).body
  await post(server.url, '/photos/new', { device_id: 'iPhone', files: entries })
  for (const { path, id } of entries) {
    const bytes = jpeg({ date: '2024:07:01 12:00:00', seed: `accepted copies ${id}` })
    const name = path.slice(path.lastIndexOf('/') + 1)
    const fields = { device_id: 'iPhone', original_path: path, asset_id: id }
    expect(await upload(server.url, bytes, { name, fields })).toMatchObject({ status: 201 })
    const copy = join(mirror, '2024/07', name)
    const isThere = () =>
      access(copy).then(
        () => true,
        () => false,
      )
    await until('it is copied', isThere)
  }
  await until('all is known to be copied', async () => (await health()).mirror?.state === 'ok')
  const [before, after] = entries
  await ignore(before)
  for (const root of [server.library, mirror]) {
    for (const name of ['before', 'after', 'accepted']) await rm(join(root, `2024/07/${name}.JPG`))
  }
  await runCommand(folder, ['verify'], settings)
  const missed = async () => {
    const { list } = (await health()).findings as { list: { kind: string; path: string; copy: string; id: number }[] }
    return list.filter(({ kind }) => kind === 'missing').map(({ copy, path }) => `${copy} ${path}`)
  }
  const both = (name: string) => [`library 2024/07/${name}.JPG`, `mirror 2024/07/${name}.JPG`]
  expect((await missed()).toSorted()).toEqual([...both('accepted'), ...both('after')].toSorted())
  await ignore(after)
  expect((await missed()).toSorted()).toEqual(both('accepted'))
  const { list } = (await health()).findings as { list: { copy: string; id: number }[] }
  const ids = list.flatMap(({ copy, id }) => (copy === 'library' ? [id] : []))
  await post(server.url, '/library/findings/accept', { ids })
  expect(await missed()).toEqual([])
  await server.stop()
})
