import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import type { OwnNames } from '../http/access/host-names.ts'

/**
 * What this machine is called, as far as it knows at this moment: the network may tell it after the server has
 * started. Without `/etc/resolv.conf` (Windows) nobody searches.
 */
export function ownNames(): OwnNames {
  return { machine: hostname(), searched: searchedIn(resolvConf()) }
}

/** The domains in which names without a dot are looked for, by a text of resolv.conf(5). */
export function searchedIn(text: string): string[] {
  return text.split('\n').flatMap((line) => {
    const [keyword, ...domains] = line.trim().split(/\s+/)
    return keyword === 'search' || keyword === 'domain' ? domains : []
  })
}

function resolvConf(): string {
  try {
    return readFileSync('/etc/resolv.conf', 'utf8')
  } catch {
    // Whatever is wrong with it, the names that need no such file remain.
    return ''
  }
}
