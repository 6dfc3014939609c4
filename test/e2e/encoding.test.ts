import { spawnSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { runCommand } from '../support/command.ts'
import { jpeg } from '../support/media.ts'
import { needs } from '../support/needs.ts'
import { post, upload } from '../support/phone.ts'
import { dropDatabase, startEmptyDatabase } from '../support/postgres.ts'
import { execute } from '../support/run-postgres.ts'
import { makeFolder, startServer } from '../support/server.ts'

const DEBIAN = '/usr/lib/postgresql/15/bin'

/** The commands of a message, one a line. */
const commandsIn = (message: string) => [...message.matchAll(/^ {2}(\S.*)$/gm)].map(([, line]) => line ?? '')

it.each(['SQL_ASCII', 'LATIN1'])(
  'a database with the encoding %s is refused by the server and by commands, with how to make one that will do',
  needs(hasCreatedb()),
  async (encoding) => {
    const folder = await makeFolder()
    const { connection, url } = await startEmptyDatabase()
    const name = `${connection.database}_${encoding.toLowerCase()}`
    await execute(
      connection,
      `create database ${name} encoding '${encoding}' template template0 locale_provider libc locale 'C'`,
    )
    try {
      const env = { DATABASE_URL: url.replace(connection.database, name), UPLOAD_FOLDER: `${folder}/photos` }
      const { code, stderr } = await runCommand(folder, ['serve'], { ...env, PORT: '0' })
      expect({ code, stderr }).toMatchObject({ code: 78 })
      expect(stderr).toContain(`The database ${name} has the encoding ${encoding}; expected UTF8`)
      expect(stderr).not.toMatch(/^ +at /m)
      expect(await runCommand(folder, ['status'], env)).toMatchObject({ code: 2, stderr })

      const [create = ''] = commandsIn(stderr)
      expect(spawnSync(create, { shell: true, env: { PATH: `${DEBIAN}:${process.env['PATH']}` } })).toMatchObject({
        status: 0,
      })
      const server = await startServer(folder, {
        ...env,
        DATABASE_URL: url.replace(connection.database, `${name}_utf8`),
      })
      expect(await post(server.url, '/photos/new', { device_id: '📱', files: [{ path: '/🌻.jpg' }] })).toMatchObject({
        status: 200,
      })
      expect(await upload(server.url, jpeg({ seed: 'sunflower' }), { name: '🌻.jpg' })).toMatchObject({ status: 201 })
      await server.stop()
    } finally {
      await dropDatabase(connection, `${name}_utf8`, { mayBeMissing: true })
      await dropDatabase(connection, name)
    }
  },
)

function hasCreatedb(): string | undefined {
  const { status } = spawnSync(`${DEBIAN}/createdb`, ['--version'])
  return status === 0 ? undefined : 'createdb (apt-get install postgresql-15)'
}
