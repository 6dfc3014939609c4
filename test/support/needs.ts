import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { TestOptions } from 'vitest'

declare module 'vitest' {
  interface TaskMeta {
    /** Why the test is skipped: what this machine lacks. */
    missing?: string
  }
}

/**
 * Options for a test, or a group of tests, that not every machine can run: each argument says what is missing, or is
 * undefined where it is there. Skipped when something is missing, and `npm test` names it.
 *
 *     it('refuses a full drive', needs(root()), async () => …)
 *     describe('on exFAT', needs(root(), command('mkfs.exfat', 'exfatprogs')), () => …)
 */
export function needs(...missing: readonly (string | undefined)[]): Pick<TestOptions, 'skip' | 'meta'> {
  const found = missing.filter((sentence) => sentence !== undefined)
  return found.length === 0 ? {} : { skip: true, meta: { missing: `needs ${found.join(', ')}` } }
}

/** Needs the program `name`, which Debian has in `debianPackage`. */
export function command(name: string, debianPackage: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.some((folder) => existsSync(join(folder, name)))
    ? undefined
    : `${name} (apt-get install ${debianPackage})`
}

/** Needs to be root, as mounting a file system does. */
export function root(): string | undefined {
  return process.getuid?.() === 0 ? undefined : 'root'
}

/** Needs the npm registry, on the network or in npm's cache. */
export function registry(): string | undefined {
  const { status } = spawnSync('npm', ['ping', '--fetch-retries=0', '--fetch-timeout=10000'], { stdio: 'ignore' })
  return status === 0 ? undefined : 'the npm registry, which was not reached'
}
