import { TEMP_SPACE } from '../base/budgets.ts'

/** The superuser, made by initdb. Nobody logs in as it. */
const OWNER = 'iclood'

/** The role that the program works as. */
export const ROLE = 'catalogue'

/** initdb's own database: the cluster has a single purpose, so it needs no second one. */
export const DATABASE = 'postgres'

/** Nothing listens on it: it is only a part of the Unix socket's name. */
export const PORT = 5432

/**
 * The settings for a household's catalogue on a small computer. They travel on the command line at every start, so a
 * cluster made by an older version gets today's. What guards data (fsync, full_page_writes, checksums) stays as it is.
 */
const SETTINGS = {
  listen_addresses: '',
  port: String(PORT),
  unix_socket_permissions: '0700',
  max_connections: '20',
  shared_buffers: '16MB',
  jit: 'off',
  io_method: 'sync',
  wal_level: 'minimal',
  max_wal_senders: '0',
  wal_compression: 'on',
  max_wal_size: '128MB',
  temp_file_limit: TEMP_SPACE,
  max_worker_processes: '2',
  max_parallel_workers: '0',
  max_logical_replication_workers: '0',
  autovacuum_max_workers: '1',
  timezone: 'UTC',
  log_timezone: 'UTC',
  // What we read: the SQLSTATE before each message, in English, on stderr.
  log_destination: 'stderr',
  logging_collector: 'off',
  log_line_prefix: '%e ',
  lc_messages: 'C',
} as const satisfies Record<string, string>

/** The arguments of `postgres` for the cluster in `folder`; `name` is shown by `ps` for each of its processes. */
export function serverArguments(folder: string, socketFolder: string, name: string): string[] {
  return ['-D', folder, ...serverSettings({ cluster_name: name, unix_socket_directories: quoted(socketFolder) })]
}

/** The settings as arguments, and `more` of them. */
export function serverSettings(more: Readonly<Record<string, string>>): string[] {
  return Object.entries({ ...SETTINGS, ...more }).flatMap(([key, value]) => ['-c', `${key}=${value}`])
}

/** unix_socket_directories is a list: a comma or a space in a folder's name would split it. */
function quoted(path: string): string {
  return `"${path.replaceAll('"', '""')}"`
}

/**
 * The arguments of `initdb` for a new cluster in `folder`. It lets nobody in: who is let in is `establishRoles`'
 * business. TCP is closed twice: nothing listens, and `reject`.
 */
export function initArguments(folder: string): string[] {
  return [
    ...['-D', folder, '-U', OWNER],
    ...['--auth-local=reject', '--auth-host=reject'],
    // Built in: the same order and the same upper case on every machine, and no operating system's upgrade changes it.
    ...['--encoding=UTF8', '--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C'],
    ...['--data-checksums', '--no-instructions'],
  ]
}
