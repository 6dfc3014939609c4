import type { Finding } from '../catalogue/findings.ts'

/** A finding for programs. */
export interface Found extends Omit<Finding, 'place' | 'found_at' | 'healed_at' | 'accepted_at'> {
  /** ISO 8601. */
  found_at: string
  healed_at: string | null
  accepted_at: string | null
}

export function foundOf(finding: Finding): Found {
  const { id, copy, kind, path, expected, found, quarantined, healed_by } = finding
  return {
    id,
    copy,
    kind,
    path,
    expected,
    found,
    quarantined,
    found_at: finding.found_at.toISOString(),
    healed_at: finding.healed_at?.toISOString() ?? null,
    healed_by,
    accepted_at: finding.accepted_at?.toISOString() ?? null,
  }
}
