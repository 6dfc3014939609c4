import type { Target } from './target.ts'
import { boundary } from './targets/boundary.ts'
import { forwarded } from './targets/forwarded.ts'
import { hosts } from './targets/hosts.ts'
import { journal } from './targets/journal.ts'
import { lists } from './targets/lists.ts'
import { media } from './targets/media.ts'
import { multipart } from './targets/multipart.ts'
import { names } from './targets/names.ts'
import { sums } from './targets/sums.ts'

export const TARGETS: readonly Target[] = [media, multipart, boundary, lists, journal, sums, hosts, forwarded, names]
