import { spawn, spawnSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WRONG_TOKENS_ANSWERED } from '../../src/base/budgets.ts'
import { endsWithFolder } from '../support/ends.ts'
import { command, needs } from '../support/needs.ts'
import { freePort } from '../support/ports.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { PROGRAM, surroundings } from '../support/surroundings.ts'
import { until } from '../support/until.ts'
import { send } from '../support/wire.ts'

/*
 * A real nginx in front of a real server. It takes a client's address from a header of the test's own (its realip
 * module), so that the internet can be played from here, and reaches the server from two addresses: 127.0.0.2, which is
 * in TRUST_PROXY, and 127.0.0.3, which nobody has told the server of.
 */

const TOKEN = 'a-token-of-twenty-characters'
const STRANGER = '203.0.113.7'
const HOME = '192.168.1.30'

const AS_IN_README = [
  'proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;',
  'proxy_set_header X-Forwarded-Proto $scheme;',
].join('\n')

/** What nginx is told, by the way that it goes. */
const WAYS = {
  /** As the README says. */
  told: { from: '127.0.0.2', lines: AS_IN_README },
  /** It names no client. */
  forgetful: {
    from: '127.0.0.2',
    lines: 'proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header Via "1.1 nginx";',
  },
  /** It passes on what the client has sent, and adds nothing. */
  plain: { from: '127.0.0.2', lines: '' },
  unknown: { from: '127.0.0.3', lines: AS_IN_README },
  unknownForgetful: { from: '127.0.0.3', lines: 'proxy_set_header X-Forwarded-Proto $scheme;' },
  unknownPlain: { from: '127.0.0.3', lines: '' },
} as const
type Way = keyof typeof WAYS

let server: TestServer
let folder: string
const ports = new Map<Way, number>()

async function startNginx(): Promise<void> {
  const servers: string[] = []
  for (const [way, { from, lines }] of Object.entries(WAYS)) {
    const port = await freePort()
    ports.set(way as Way, port)
    servers.push(`server {
      listen 127.0.0.1:${port};
      location / {
        proxy_pass http://127.0.0.1:${server.port};
        proxy_bind ${from};
        proxy_set_header Host $host;
        proxy_set_header X-Test-Client "";
        ${lines}
      }
    }`)
  }
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  )
  const config = `${process.getuid?.() === 0 ? 'user root;' : ''}
    daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log stderr;
    events { worker_connections 64; }
    http {
      access_log off; ${temporary.join(' ')} underscores_in_headers on;
      set_real_ip_from 127.0.0.0/8; real_ip_header X-Test-Client;
      ${servers.join('\n')}
    }`
  await writeFile(join(folder, 'nginx.conf'), config)
  const args = ['-p', folder, '-c', join(folder, 'nginx.conf')]
  const nginx = spawn('nginx', args, {
    env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin` },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  nginx.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  endsWithFolder(folder, async () => {
    if (nginx.exitCode !== null || nginx.signalCode !== null) return
    nginx.kill('SIGTERM')
    await new Promise((resolve) => nginx.once('exit', resolve))
  })
  await until(
    'nginx answers',
    async () => {
      if (nginx.exitCode !== null) throw new Error(`nginx has ended: ${said}`)
      return (await through('unknownPlain').catch(() => undefined)) !== undefined
    },
    () => said,
  )
}

/** The status that a client's request is answered with, which has gone that way. */
async function through(way: Way, headers: Record<string, string> = {}, client = STRANGER, path = '/storage/usage') {
  const { status } = await ask(way, headers, client, path)
  return status
}

function ask(way: Way, headers: Record<string, string> = {}, client = STRANGER, path = '/storage/usage') {
  return send({ port: ports.get(way) ?? 0 }, { path, headers: { ...headers, 'x-test-client': client } })
}

describe('behind nginx', needs(command('nginx', 'nginx')), () => {
  beforeAll(async () => {
    folder = await makeFolder()
    server = await startServer(folder, { TRUST_PROXY: '127.0.0.2', ACCESS_TOKEN: TOKEN })
    await startNginx()
  })

  afterAll(async () => {
    await server.stop()
    await removeFolder(folder)
  })

  it('that is told what the README says, the house is at home and the internet is not, whatever it sends', async () => {
    for (const client of [HOME, '::ffff:192.168.1.30', 'fd00::7', '127.0.0.1']) {
      expect(await through('told', {}, client), client).toBe(200)
    }
    for (const client of [STRANGER, '2001:db8::7', '100.64.0.7', '::ffff:203.0.113.7']) {
      expect(await through('told', {}, client), client).toBe(401)
      expect(await through('told', { authorization: `Bearer ${TOKEN}` }, client), client).toBe(200)
    }
    const spoofs: Record<string, string>[] = [
      { 'x-forwarded-for': HOME },
      { 'x-forwarded-for': `${HOME}, 127.0.0.2, 127.0.0.2` },
      { 'x-forwarded-for': '\t,' },
      { 'x-forwarded-for': `${HOME}, "` },
      { 'x-forwarded-for': '::ffff:127.0.0.1' },
      { 'x-real-ip': '127.0.0.1' },
      { forwarded: 'for=127.0.0.1' },
      { forwarded: 'for="[::1]"', 'x-real-ip': HOME, 'x-forwarded-for': HOME },
      { x_forwarded_for: HOME },
      { 'cf-connecting-ip': HOME, 'true-client-ip': HOME },
    ]
    for (const headers of spoofs) expect(await through('told', headers), JSON.stringify(headers)).toBe(401)
  })

  const everybody = [STRANGER, HOME, '127.0.0.1']
  it('that is trusted and names no client, everybody is outside', async () => {
    for (const client of everybody) expect(await through('forgetful', {}, client), client).toBe(401)
  })

  it('that nobody has told the server of, everybody is outside as soon as it writes any header', async () => {
    for (const client of everybody) {
      expect(await through('unknown', {}, client), client).toBe(401)
      expect(await through('unknownForgetful', {}, client), client).toBe(401)
      expect(await through('unknownForgetful', { 'x-forwarded-for': '127.0.0.1' }, client), client).toBe(401)
    }
  })

  it.each([
    ['via', '1.1 nginx'],
    ['x-forwarded-proto', 'https'],
    ['x-forwarded-host', 'localhost'],
    ['x-forwarded-port', '443'],
    ['forwarded', 'proto=https'],
    ['forwarded', 'for=_hidden'],
    ['x-forwarded-for', 'unknown'],
    ['x-forwarded-for', '192.168.1'],
    ['x-real-ip', '192.168.1.30 127.0.0.1'],
    ['x-real-ip', STRANGER],
    ['cf-connecting-ip', HOME],
    ['true-client-ip', HOME],
    ['x-client-ip', HOME],
    ['x-cluster-client-ip', HOME],
    ['x-original-forwarded-for', HOME],
    ['cdn-loop', 'cloudflare'],
  ])('that passes on %s: %s and no client that can be read, everybody is outside', async (name, value) => {
    for (const way of ['plain', 'unknownPlain'] as const) {
      expect(await through(way, { [name]: value }, HOME), way).toBe(401)
      expect(await through(way, { [name]: value, authorization: `Bearer ${TOKEN}` }, HOME), way).toBe(200)
    }
  })

  it('that adds nothing at all, nobody can tell: it looks like a program on this computer, as the README warns', async () => {
    expect(await through('unknownPlain')).toBe(200)
    expect(await through('plain')).toBe(200)
  })

  it('who guesses tokens is told to wait, the right one passes, and nobody else notices', async () => {
    const client = '198.51.100.7'
    const guess = async (number: number) => ask('told', { authorization: `Bearer guess-${number}` }, client)
    const statuses: number[] = []
    for (let number = 0; number <= WRONG_TOKENS_ANSWERED; number++) statuses.push((await guess(number)).status)
    expect(statuses).toEqual([...Array(WRONG_TOKENS_ANSWERED).fill(401), 429])
    const refusal = await guess(99)
    expect(refusal).toMatchObject({ status: 429, headers: { 'retry-after': '60' } })
    expect(refusal.body).toMatchObject({ status: 'error', code: 'too_many_guesses' })
    expect(refusal.text).not.toContain(TOKEN)
    expect(await through('told', { authorization: `Bearer ${TOKEN}` }, client)).toBe(200)
    expect(await through('told', { authorization: 'Bearer guess' }, '198.51.100.8')).toBe(401)
    expect(await through('told', { authorization: 'Bearer guess' }, HOME)).toBe(200)
    expect(server.output()).toContain('wrong access tokens have come from 198.51.100.7')
  })
})

it.each([
  [{ TRUST_PROXY: '0.0.0.0/0' }, 'too large a part of the internet'],
  [{ TRUST_PROXY: '::/1,8000::/1' }, 'too large a part of the internet'],
  [{ TRUST_PROXY: 'true' }, 'TRUST_PROXY is "true"'],
  [{ ACCESS_TOKEN: 'short' }, 'openssl rand -hex 32'],
  [{ HOME_NETWORKS: '203.0.113.0/24' }, 'HOME_NETWORKS is "203.0.113.0/24"'],
])('a start with %j is refused with a sentence that says why', async (env, sentence) => {
  const here = await makeFolder()
  const { status, stderr } = spawnSync(process.execPath, [PROGRAM, 'serve'], {
    cwd: here,
    env: { PORT: '0', ...surroundings(here, env as unknown as Record<string, string>) },
    encoding: 'utf8',
  })
  expect(stderr).toContain(sentence)
  expect(status).toBe(78)
  await removeFolder(here)
})

it('a part of the house that HOME_NETWORKS leaves out needs the token', async () => {
  const here = await makeFolder()
  const narrow = await startServer(here, { HOME_NETWORKS: '127.0.0.1,192.168.0.0/16', ACCESS_TOKEN: TOKEN })
  expect((await send(narrow, { path: '/ping' })).status).toBe(200)
  expect((await send(narrow, { path: '/ping', from: '127.0.0.9' })).status).toBe(401)
  const headers = { authorization: `Bearer ${TOKEN}` }
  expect((await send(narrow, { path: '/ping', from: '127.0.0.9', headers })).status).toBe(200)
  await narrow.stop()
  await removeFolder(here)
})
