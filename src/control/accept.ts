import { type NoteChange, noteIfUnsure } from '../archive/changes.ts'
import { acceptFindings, type Named } from '../catalogue/acceptance.ts'
import type { Database } from '../catalogue/connection.ts'
import type { Finding } from '../catalogue/findings.ts'
import { parseLibraryPath } from '../format/layout.ts'

/**
 * Accepts open findings for a person who knows of them (see `acceptFindings`), and returns them. Needs no drive. Throws
 * `not_found`, with nothing accepted, and `database_unavailable`.
 */
export async function accept(
  { db, changed, now }: { db: Database; changed: NoteChange; now: () => Date },
  named: Named,
): Promise<Finding[]> {
  const accepting = acceptFindings(db, named, now())
  const { findings, backups, originals } = await noteIfUnsure(changed, accepting)
  if (backups.length + originals.length > 0) changed({ backups, originals: originals.map(parseLibraryPath) })
  return findings
}
