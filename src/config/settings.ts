import {
  databaseUrl,
  days,
  duration,
  folder,
  folders,
  hidden,
  homeNetworks,
  hostNames,
  LOG_LEVELS,
  listenAddress,
  logLevel,
  megabytes,
  origins,
  port,
  positiveMegabytes,
  proxies,
  receivers,
  type Surroundings,
  timeZone,
  token,
  umask,
  webAddress,
  withoutPassword,
  yesOrNo,
} from './values.ts'

/** One setting: everything that is said about it anywhere. */
export interface Setting<T> {
  readonly name: string
  /** What holds when it is unset, as it would be written; undefined: `otherwise` says what happens then. */
  readonly default: string | undefined
  /** What happens when it is unset, in words, where there is no default. */
  readonly otherwise: string
  /** A value to start from, where there is no default. */
  readonly example: string
  readonly meaning: string
  /** What it may hold: goes on after "must be". */
  readonly wanted: string
  /** Reads the text, which is trimmed and not empty. Throws `Refusal`. */
  readonly parse: (text: string, surroundings: Surroundings) => T
  /** How its text is shown in a message, if not as it is. */
  readonly show?: (text: string) => string
}

export type WithDefault<T> = Setting<T> & { readonly default: string }

function withDefault<T>(setting: Omit<WithDefault<T>, 'otherwise' | 'example'>): WithDefault<T> {
  return { ...setting, otherwise: '', example: '' }
}

function optional<T>(setting: Omit<Setting<T>, 'default'>): Setting<T> {
  return { ...setting, default: undefined }
}

/** Every setting under its name in `Config`, in the order in which people read of them. */
export const SETTINGS = {
  port: withDefault({
    name: 'PORT',
    default: '8080',
    meaning: 'The port it listens on; 0 takes any free one.',
    wanted: 'a whole number from 0 to 65535',
    parse: port,
  }),

  host: optional({
    name: 'HOST',
    otherwise: 'all addresses (IPv4 and IPv6)',
    example: '127.0.0.1',
    meaning: 'The address it listens on.',
    wanted: 'an IP address or a host name of this machine, such as 127.0.0.1, :: or localhost, without a port',
    parse: listenAddress,
  }),

  libraryFolder: withDefault({
    name: 'UPLOAD_FOLDER',
    default: './data/photos',
    meaning: "The library: the external drive's folder. A leading `~` is the home folder.",
    wanted: 'the path of a folder',
    parse: folder,
  }),

  dataDir: withDefault({
    name: 'DATA_DIR',
    default: './data',
    meaning:
      'The folder for the embedded database and what else stays on this machine. A leading `~` is the home folder.',
    wanted: 'the path of a folder',
    parse: folder,
  }),

  databaseUrl: optional({
    name: 'DATABASE_URL',
    otherwise: 'the embedded database',
    example: 'postgresql://iclood:password@localhost:5432/iclood',
    meaning:
      'Any PostgreSQL from version 13 on, with a database in UTF-8 ' +
      '(`createdb -E UTF8 -T template0 --locale=C iclood`). ' +
      'The `postgresql+psycopg2://…` of the Flask server works, too.',
    wanted: 'the address of a PostgreSQL, such as postgresql://user:password@host:5432/name',
    parse: databaseUrl,
    show: withoutPassword,
  }),

  maxFileSize: optional({
    name: 'MAX_FILE_SIZE',
    otherwise: 'no limit',
    example: '4096',
    meaning: 'The largest file it takes, in MB (1024² bytes).',
    wanted: 'a number of MB above 0, such as 4096 or 0.5',
    parse: positiveMegabytes,
  }),

  minFreeSpace: withDefault({
    name: 'MIN_FREE_SPACE',
    default: '512',
    meaning: 'The space kept free on the drive, in MB (1024² bytes). An upload that would go below is refused.',
    wanted: 'a number of MB from 0 on, such as 512 or 0.5',
    parse: megabytes,
  }),

  mirrorFolders: optional({
    name: 'MIRROR_FOLDER',
    otherwise: 'no second copy',
    example: '/mnt/second-drive/photos',
    meaning:
      'A folder on a second drive, or on another computer, that gets a copy of the whole library. Several are separated by commas.',
    wanted: 'the path of a folder, or several separated by commas',
    parse: folders,
  }),

  verifyEvery: withDefault({
    name: 'VERIFY_EVERY',
    default: '30d',
    meaning: 'Every photo is read back from the drive and compared at least this often, such as `30d` or `12h`.',
    wanted: 'a time such as 30d, 12h, 90m or 45s',
    parse: duration,
  }),

  autoRebuild: optional({
    name: 'AUTO_REBUILD',
    otherwise: 'true with the embedded database, else false',
    example: 'true',
    meaning: 'Whether an empty database is rebuilt from the drive at the start.',
    wanted: 'true or false',
    parse: yesOrNo,
  }),

  quietDays: withDefault({
    name: 'QUIET_DAYS',
    default: '7',
    meaning: 'A phone that has neither backed up nor looked in for this many days is reported.',
    wanted: 'a number of days above 0, such as 7 or 0.5',
    parse: days,
  }),

  notifyUrls: optional({
    name: 'NOTIFY_URL',
    otherwise: 'nobody is told',
    example: 'ntfys://ntfy.sh/our-photos',
    meaning:
      'Who is told when something is wrong, and when it is well again: `ntfy://` or `ntfys://` (TLS), host and topic; any other `http(s)://` address gets JSON. Several are separated by commas.',
    wanted: 'addresses separated by commas, such as ntfys://ntfy.sh/our-photos or https://example.org/hook',
    parse: receivers,
    show: hidden,
  }),

  heartbeatUrl: optional({
    name: 'HEARTBEAT_URL',
    otherwise: 'nobody is told',
    example: 'https://hc-ping.com/your-check',
    meaning:
      'Who is told every minute that all is well, and notices when it is not, or the whole machine is dead: an `http(s)://` address of healthchecks.io, Uptime Kuma (a push monitor) or the like.',
    wanted: 'one address that begins with http:// or https://, such as https://hc-ping.com/your-check',
    parse: webAddress,
    show: hidden,
  }),

  accessToken: optional({
    name: 'ACCESS_TOKEN',
    otherwise: 'closed to everything outside the home network',
    example: 'what-openssl-rand-hex-32-prints',
    meaning:
      'Lets requests from outside the home network in that send `Authorization: Bearer` and this text of at least 20 characters.',
    wanted: 'at least 20 letters, digits and punctuation marks of ASCII, without spaces',
    parse: token,
    show: hidden,
  }),

  trustedProxies: optional({
    name: 'TRUST_PROXY',
    otherwise: 'none',
    example: '127.0.0.1,172.16.0.0/12',
    meaning:
      'The reverse proxies whose `X-Forwarded-*` headers are believed: IP addresses or CIDRs, separated by commas.',
    wanted: 'IP addresses or CIDRs separated by commas, such as 127.0.0.1 or 172.16.0.0/12',
    parse: proxies,
  }),

  homeNetworks: optional({
    name: 'HOME_NETWORKS',
    otherwise: 'all loopback, private, link-local and unique-local addresses',
    example: '127.0.0.1,::1,192.168.1.0/24,fe80::/10',
    meaning:
      'What counts as the home network, where not all of it shall: IP addresses or CIDRs, separated by commas. No others are let in without the token.',
    wanted: 'IP addresses or CIDRs of a home network separated by commas, such as 127.0.0.1 or 192.168.1.0/24',
    parse: homeNetworks,
  }),

  allowedHosts: optional({
    name: 'ALLOWED_HOSTS',
    otherwise: 'none',
    example: 'photos.example.org',
    meaning:
      'Further host names that it answers to, separated by commas. IP addresses, `*.local`, `*.lan`, `*.fritz.box` and ' +
      "the like, and names in the network's own domain need not be named.",
    wanted: 'host names separated by commas, such as photos.example.org, without scheme, port or *',
    parse: hostNames,
  }),

  corsOrigins: optional({
    name: 'CORS_ORIGINS',
    otherwise: 'none',
    example: 'https://photos.example.org',
    meaning: 'The web pages of other origins that may call it, separated by commas.',
    wanted:
      'web origins separated by commas, such as https://photos.example.org or http://localhost:3000, without a path',
    parse: origins,
  }),

  timeZone: optional({
    name: 'TZ',
    otherwise: "the system's",
    example: 'Europe/Berlin',
    meaning: 'The time zone for dates that come without one.',
    wanted: 'a time zone of the IANA database, such as Europe/Berlin or UTC',
    parse: timeZone,
  }),

  umask: withDefault({
    name: 'UMASK',
    default: '0027',
    meaning:
      'Whom new photos, folders and everything else it makes are closed to, as umask(2) has it: `0027` for all but the ' +
      "owner and the group's readers, `0022` lets everybody on this machine read, `0077` nobody.",
    wanted: 'an octal number of 3 or 4 digits that leaves the owner all rights, such as 0027, 0022 or 0077',
    parse: umask,
  }),

  logLevel: withDefault({
    name: 'LOG_LEVEL',
    default: 'info',
    meaning: `How much it logs: ${LOG_LEVELS.map((level) => `\`${level}\``).join(', ')}.`,
    wanted: `one of ${LOG_LEVELS.join(', ')}`,
    parse: logLevel,
  }),
}
