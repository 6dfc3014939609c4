import { resolve, sep } from 'node:path'
import Type, { type Static } from 'typebox'
import { acceptFindings, type Named } from '../catalogue/acceptance.ts'
import { countOpenFindings, listOpenFindings } from '../catalogue/findings.ts'
import { FINDING_KINDS } from '../catalogue/tables.ts'
import { type Found, foundOf } from './found.ts'
import type { Owner } from './owner.ts'

export const AcceptAsked = Type.Object({
  /** Numbers, and paths as in `verify --path`. */
  findings: Type.Array(Type.String()),
  kinds: Type.Array(Type.Enum(FINDING_KINDS)),
})

/** What there is to accept, or what has been accepted. */
export type Acceptance = { open: Found[]; total: number } | { accepted: Found[] }

const MAX_LISTED = 1_000

/** Accepts what is named; names what could be if nothing is. Needs no drive. Throws as `acceptFindings`. */
export async function accept(owner: Owner, { findings, kinds }: Static<typeof AcceptAsked>): Promise<Acceptance> {
  const { db, config } = owner
  if (findings.length + kinds.length === 0) {
    const open = await listOpenFindings(db, MAX_LISTED)
    const total = (await countOpenFindings(db)).reduce((sum, { count }) => sum + count, 0)
    return { open: open.map(foundOf), total }
  }
  const named = { ...nameIn(config.libraryFolder, findings), kinds }
  const accepted = await acceptFindings(db, named, new Date())
  owner.trouble()
  return { accepted: accepted.map(foundOf) }
}

/** What a person types: numbers, and paths in the library in the folder `root`. */
function nameIn(root: string, findings: readonly string[]): Omit<Named, 'kinds'> {
  const isNumber = (text: string) => /^#?\d{1,15}$/.test(text)
  const within = (text: string) => {
    const absolute = resolve(root, text)
    return absolute.startsWith(root + sep)
      ? absolute
          .slice(root.length + 1)
          .split(sep)
          .join('/')
      : text
  }
  return {
    ids: findings.filter(isNumber).map((text) => Number(text.replace('#', ''))),
    paths: findings.filter((text) => !isNumber(text)).map(within),
  }
}
