import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ConfigError, type Environment, loadConfig, readEnvironment } from '../../src/config/config.ts'
import { SETTINGS } from '../../src/config/settings.ts'
import { fc } from '../support/property.ts'

const MB = 1024 ** 2

/** The problems of the one error that `action` throws; none if it throws nothing. */
function problemsOf(action: () => unknown): readonly string[] {
  try {
    action()
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
}

const PRIVATE = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7', 'fe80::/10']

function load(env: Environment) {
  return loadConfig(env, '/srv/iclood')
}

describe('loadConfig', () => {
  it('has a value for everything when nothing is set', () => {
    expect(load({})).toEqual({
      port: 8080,
      mirrorFolders: [],
      verifyEvery: 30 * 24 * 60 * 60 * 1000,
      autoRebuild: true,
      quietDays: 7,
      notifyUrls: [],
      heartbeatUrl: undefined,
      host: undefined,
      libraryFolder: '/srv/iclood/data/photos',
      dataDir: '/srv/iclood/data',
      databaseUrl: undefined,
      maxFileSize: undefined,
      minFreeSpace: 512 * MB,
      accessToken: undefined,
      trustedProxies: [],
      homeNetworks: [],
      allowedHosts: [],
      corsOrigins: [],
      timeZone: new Intl.DateTimeFormat().resolvedOptions().timeZone,
      umask: 0o027,
      logLevel: 'info',
    })
  })

  it('takes an empty or blank text for unset', () => {
    const blank = Object.values(SETTINGS).map(({ name }, index) => [name, ' '.repeat(index % 3)])
    expect(load(Object.fromEntries(blank))).toEqual(load({}))
  })

  it('cannot be changed afterwards', () => {
    const config = load({ TRUST_PROXY: '10.0.0.1' })
    for (const object of [
      config,
      config.trustedProxies,
      config.homeNetworks,
      config.allowedHosts,
      config.corsOrigins,
    ]) {
      expect(Object.isFrozen(object)).toBe(true)
    }
  })

  it.each([
    ['PORT', '0', 'port', 0],
    ['PORT', ' 65535 ', 'port', 65535],
    ['HOST', '0.0.0.0', 'host', '0.0.0.0'],
    ['HOST', '::1', 'host', '::1'],
    ['HOST', '[::1]', 'host', '::1'],
    ['HOST', 'localhost', 'host', 'localhost'],
    ['UPLOAD_FOLDER', '/mnt/photos/', 'libraryFolder', '/mnt/photos'],
    ['UPLOAD_FOLDER', 'drive/../x y', 'libraryFolder', '/srv/iclood/x y'],
    ['UPLOAD_FOLDER', './~odd', 'libraryFolder', '/srv/iclood/~odd'],
    ['UPLOAD_FOLDER', '~', 'libraryFolder', homedir()],
    ['DATA_DIR', '~/iclood', 'dataDir', join(homedir(), 'iclood')],
    ['MIRROR_FOLDER', '/mnt/second drive/', 'mirrorFolders', ['/mnt/second drive']],
    ['MIRROR_FOLDER', '/mnt/a b , third,/mnt/x\\,y', 'mirrorFolders', ['/mnt/a b', '/srv/iclood/third', '/mnt/x,y']],
    ['MAX_FILE_SIZE', '0.5', 'maxFileSize', MB / 2],
    ['MIN_FREE_SPACE', '0', 'minFreeSpace', 0],
    ['MIN_FREE_SPACE', '1.1', 'minFreeSpace', 1153434],
    ['ACCESS_TOKEN', ' x#!~5678901234567890 ', 'accessToken', 'x#!~5678901234567890'],
    [
      'TRUST_PROXY',
      '10.0.0.1, 172.16.0.0/12,fd00::/8 ::1',
      'trustedProxies',
      ['10.0.0.1', '172.16.0.0/12', 'fd00::/8', '::1'],
    ],
    ['TRUST_PROXY', '10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7,fe80::/10', 'trustedProxies', PRIVATE],
    ['TRUST_PROXY', '104.16.0.0/13 2606:4700::/32', 'trustedProxies', ['104.16.0.0/13', '2606:4700::/32']],
    ['HOME_NETWORKS', '192.168.1.0/24, fe80::/10 ::1', 'homeNetworks', ['192.168.1.0/24', 'fe80::/10', '::1']],
    [
      'ALLOWED_HOSTS',
      'Photos.Example.org.,bücher.example',
      'allowedHosts',
      ['photos.example.org', 'xn--bcher-kva.example'],
    ],
    [
      'CORS_ORIGINS',
      'HTTPS://A.example:443,http://localhost:3000',
      'corsOrigins',
      ['https://a.example', 'http://localhost:3000'],
    ],
    ['CORS_ORIGINS', 'capacitor://localhost', 'corsOrigins', ['capacitor://localhost']],
    ['TZ', 'europe/berlin', 'timeZone', 'Europe/Berlin'],
    ['TZ', ':Europe/Berlin', 'timeZone', 'Europe/Berlin'],
    ['UMASK', '022', 'umask', 0o022],
    ['UMASK', '0077', 'umask', 0o077],
    ['LOG_LEVEL', 'WARN', 'logLevel', 'warn'],
  ] as const)('reads %s=%s', (name, text, field, value) => {
    expect(load({ [name]: text })[field]).toEqual(value)
  })

  it.each([
    ['PORT', '65536'],
    ['PORT', '-1'],
    ['PORT', '80.5'],
    ['PORT', '0x50'],
    ['HOST', 'localhost:8080'],
    ['HOST', '192.168.1.300'],
    ['HOST', 'http://localhost'],
    ['HOST', '*'],
    ['UPLOAD_FOLDER', '~somebody/photos'],
    ['DATA_DIR', '~somebody'],
    ['DATABASE_URL', 'mysql://localhost/iclood'],
    ['DATABASE_URL', 'sqlite:///iclood.db'],
    ['DATABASE_URL', 'localhost/iclood'],
    ['DATABASE_URL', 'postgresql://localhost:99999/iclood'],
    ['DATABASE_URL', 'postgresql+psycopg2:/localhost/iclood'],
    ['MAX_FILE_SIZE', '0'],
    ['MAX_FILE_SIZE', '0.0000001'],
    ['MAX_FILE_SIZE', '100MB'],
    ['MAX_FILE_SIZE', '1e3'],
    ['MAX_FILE_SIZE', 'Infinity'],
    ['MIN_FREE_SPACE', '-5'],
    ['MIN_FREE_SPACE', '99999999999999999999'],
    ['ACCESS_TOKEN', 'two words'],
    ['ACCESS_TOKEN', 'schlüssel'],
    ['ACCESS_TOKEN', '1234567890123456789'],
    ['TRUST_PROXY', 'loopback'],
    ['TRUST_PROXY', 'true'],
    ['TRUST_PROXY', '*'],
    ['TRUST_PROXY', '0.0.0.0/0'],
    ['TRUST_PROXY', '127.0.0.1, ::/0'],
    ['TRUST_PROXY', '0.0.0.0/1,128.0.0.0/1'],
    ['TRUST_PROXY', '8.0.0.0/7'],
    ['TRUST_PROXY', '2000::/3'],
    ['TRUST_PROXY', '::ffff:0:0/96'],
    ['TRUST_PROXY', Array.from({ length: 256 }, (_, first) => `${first}.0.0.0/8`).join()],
    ['TRUST_PROXY', Array.from({ length: 4096 }, (_, first) => `${(0x2000 + first).toString(16)}::/16`).join()],
    ['MIRROR_FOLDER', '/mnt/a,,/mnt/b'],
    ['MIRROR_FOLDER', '/mnt/a,/mnt/b/../a/'],
    ['HOME_NETWORKS', 'all'],
    ['HOME_NETWORKS', '0.0.0.0/0'],
    ['HOME_NETWORKS', '192.168.1.0/24,203.0.113.0/24'],
    ['HOME_NETWORKS', '192.0.0.0/8'],
    ['HOME_NETWORKS', '100.64.0.0/10'],
    ['TRUST_PROXY', '10.0.0.0/33'],
    ['TRUST_PROXY', '10.1/16'],
    ['TRUST_PROXY', '10.0.0.0/8/8'],
    ['TRUST_PROXY', 'fd00::/129'],
    ['ALLOWED_HOSTS', '*'],
    ['ALLOWED_HOSTS', '*.example.org'],
    ['ALLOWED_HOSTS', 'photos.example.org:8080'],
    ['ALLOWED_HOSTS', 'https://photos.example.org'],
    ['CORS_ORIGINS', '*'],
    ['CORS_ORIGINS', 'null'],
    ['CORS_ORIGINS', 'photos.example.org'],
    ['CORS_ORIGINS', 'https://photos.example.org/'],
    ['CORS_ORIGINS', 'https://user@photos.example.org'],
    ['CORS_ORIGINS', 'https://photos.example.org:99999'],
    ['TZ', 'Berlin'],
    ['TZ', ':/no/such/zone'],
    ['UMASK', '0700'],
    ['UMASK', '0028'],
    ['LOG_LEVEL', 'verbose'],
  ])('refuses %s=%s and says what it may hold', (name, text) => {
    const setting = Object.values(SETTINGS).find((candidate) => candidate.name === name)
    const problems = problemsOf(() => load({ [name]: text }))
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(`${name} is ${name === 'ACCESS_TOKEN' ? '' : JSON.stringify(text)}`)
    expect(problems[0]).toContain(`must be ${setting?.wanted}`)
  })

  it('wants a folder of its own for each second copy', () => {
    for (const [folders, said] of [
      ['/mnt/a,/mnt/photos/b', 'neither within UPLOAD_FOLDER'],
      ['/mnt', 'nor around it'],
      ['/mnt/a,/mnt/a/b', 'not within another'],
    ] as const) {
      const problems = problemsOf(() => load({ UPLOAD_FOLDER: '/mnt/photos', MIRROR_FOLDER: folders }))
      expect(problems).toEqual([expect.stringContaining(said)])
    }
  })

  it('says how a token is made that is long enough, and does not show the one that is not', () => {
    const [problem] = problemsOf(() => load({ ACCESS_TOKEN: 'correct-horse' }))
    expect(problem).toContain('openssl rand -hex 32')
    expect(problem).not.toContain('correct')
  })

  it('reports every problem at once', () => {
    const env = { PORT: 'x', HOST: 'a b', MAX_FILE_SIZE: 'big', TZ: 'Mars', LOG_LEVEL: 'loud' }
    const problems = problemsOf(() => load(env))
    expect(problems.map((problem) => problem.split(' ')[0])).toEqual(Object.keys(env))
    expect(() => load(env)).toThrow(problems.join('\n'))
  })

  it.each([
    ['/d/postgres', true],
    ['/d/postgres/photos', true],
    ['/d/x/../postgres/', true],
    ['/d', false],
    ['/d/postgres-photos', false],
    ['/d/..postgres', false],
    ['/', false],
  ])('keeps the library out of the embedded database: %s', (libraryFolder, refused) => {
    const problems = problemsOf(() => load({ UPLOAD_FOLDER: libraryFolder, DATA_DIR: '/d' }))
    expect(problems.length).toBe(refused ? 1 : 0)
  })
})

describe('DATABASE_URL', () => {
  it.each([
    ['postgresql://u:p@h:5433/d', 'postgresql://u:p@h:5433/d'],
    ['postgres://u:p@h/d', 'postgresql://u:p@h/d'],
    ['postgresql+psycopg2://u:p@h/d', 'postgresql://u:p@h/d'],
    ['postgresql+asyncpg://h/d', 'postgresql://h/d'],
    ['postgresql:///d?host=/run/postgresql', 'postgresql:///d?host=/run/postgresql'],
    ['postgresql://u@/d?host=/run/postgresql', 'postgresql://u@/d?host=/run/postgresql'],
    ['postgresql://u:p%40ss@[::1]:5432/d', 'postgresql://u:p%40ss@[::1]:5432/d'],
    ['postgresql://h/d?options=-csearch_path=a@b', 'postgresql://h/d?options=-csearch_path=a@b'],
    ['postgresql://h/d?sslmode=require', 'postgresql://h/d?sslmode=require&uselibpqcompat=true'],
  ])('reads %s as SQLAlchemy and PostgreSQL do', (text, url) => {
    expect(load({ DATABASE_URL: text }).databaseUrl).toBe(url)
  })

  it('takes any password, encoded or as SQLAlchemy takes it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (password) => {
        const url = new URL(
          load({ DATABASE_URL: `postgresql://u:${encodeURIComponent(password)}@h/d` }).databaseUrl ?? '',
        )
        expect(decodeURIComponent(url.password)).toBe(password)
        expect(url.host).toBe('h')
      }),
    )
    for (const password of ['a#b', 'a/b', 'a?b', 'a:b', 'a@b', '100%', 'a b']) {
      const url = new URL(load({ DATABASE_URL: `postgresql+psycopg2://u:${password}@h/d` }).databaseUrl ?? '')
      expect([decodeURIComponent(url.password), url.host]).toEqual([password, 'h'])
    }
  })

  it.each([
    'mysql://u:geheim@h/d',
    'postgresql://u:geheim@h:port/d',
    'mysql://a/b:geheim@h/d',
    'mysql://h/d?user=u&password=geheim',
    'mysql://h/d?sslpassword=geheim&x=1',
    'host=h password=geheim',
    'postgresql:u:geheim@h',
    'Server=h;Uid=u;Pwd=geheim',
  ])('never shows a password: %s', (text) => {
    const problems = problemsOf(() => load({ DATABASE_URL: text }))
    expect(problems).toHaveLength(1)
    expect(problems[0]).not.toContain('geheim')
  })
})

it('never shows the access token', () => {
  const problems = problemsOf(() => load({ ACCESS_TOKEN: 'ge heim' }))
  expect(problems).toHaveLength(1)
  expect(problems[0]).not.toContain('heim')
})

describe('readEnvironment', () => {
  let cwd: string

  beforeEach(() => {
    cwd = mkdtempSync(join(tmpdir(), 'iclood-env-'))
  })

  afterEach(() => {
    rmSync(cwd, { recursive: true })
  })

  function read(dotEnv: string | Buffer, env: Environment = {}): Environment {
    writeFileSync(join(cwd, '.env'), dotEnv)
    return readEnvironment(cwd, env)
  }

  it('is the environment where there is no .env', () => {
    expect(readEnvironment(cwd, { PORT: '1' })).toEqual({ PORT: '1' })
  })

  it('completes the environment, which wins unless it is empty', () => {
    expect(read('PORT=1\nHOST=::1\nTZ=UTC\n', { PORT: '2', HOST: '', OTHER: 'x' })).toEqual({
      PORT: '2',
      HOST: '::1',
      TZ: 'UTC',
      OTHER: 'x',
    })
  })

  it('reads quotes, comments, export, Windows lines and a byte order mark', () => {
    const text =
      '\uFEFF# iClood\r\n\r\nexport PORT = 1 # one\r\nUPLOAD_FOLDER="/mnt/my # photos"\r\nTZ=\'UTC\'\r\nHOST=\r\n'
    expect(read(text)).toEqual({ PORT: '1', UPLOAD_FOLDER: '/mnt/my # photos', TZ: 'UTC', HOST: '' })
  })

  it.each(['UPLOAD_FOLDER /mnt/photos', 'UPLOAD_FOLDER: /mnt/photos', 'UPLOAD_FOLDER="/mnt/photos', 'PORT=1\n=2'])(
    'does not pass over a line that it cannot read: %s',
    (text) => {
      const number = text.split('\n').length
      const problems = problemsOf(() => read(text))
      expect(problems).toHaveLength(1)
      expect(problems[0]).toContain(`${join(cwd, '.env')}, line ${number},`)
    },
  )

  it.each([
    ['UTF-16', Buffer.from('PORT=1\n', 'utf16le')],
    ['Latin-1', Buffer.from('UPLOAD_FOLDER=/mnt/bücher\n', 'latin1')],
  ])('refuses a .env in %s', (_, bytes) => {
    expect(problemsOf(() => read(bytes))).toEqual([expect.stringContaining('UTF-8')])
  })

  it('refuses a .env that cannot be read', () => {
    mkdirSync(join(cwd, '.env'))
    expect(problemsOf(() => readEnvironment(cwd, {}))).toEqual([expect.stringContaining('.env cannot be read')])
  })

  it('reports what is wrong with .env and with the settings together', () => {
    expect(problemsOf(() => read('oops\nPORT=x\n', { TZ: 'Mars' }))).toEqual([
      expect.stringContaining('line 1'),
      expect.stringContaining('PORT'),
      expect.stringContaining('TZ'),
    ])
  })
})

describe('what people read about the settings', () => {
  const settings = Object.values(SETTINGS)
  const read = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8')

  it('is in the table of README.md, word for word and in order', () => {
    const section = /^## Settings$(.*?)(?=^## |$(?![\s\S]))/ms.exec(read('README.md'))?.[1] ?? ''
    const rows = section.split('\n').filter((line) => line.startsWith('| `'))
    expect(rows).toEqual(
      settings.map(({ name, default: value, otherwise, meaning }) => {
        return `| \`${name}\` | ${value === undefined ? otherwise : `\`${value}\``} | ${meaning} |`
      }),
    )
  })

  it('is in .env.example, word for word and in order', () => {
    const blocks = read('.env.example').trimEnd().split('\n\n').slice(1)
    expect(blocks).toEqual(
      settings.map(({ name, default: value, otherwise, example, meaning }) => {
        const unset = value === undefined ? ` Unset: ${otherwise}.` : ''
        return `# ${meaning.replaceAll('`', '')}${unset}\n# ${name}=${value ?? example}`
      }),
    )
  })

  it('has defaults and examples that the server takes', () => {
    const uncommented = read('.env.example').replace(/^# (?=[A-Z_]+=)/gm, '')
    const env = parseEnv(uncommented)
    expect(Object.keys(env).sort()).toEqual(settings.map(({ name }) => name).sort())
    expect(problemsOf(() => load(env))).toEqual([])
  })
})
