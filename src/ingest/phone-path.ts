/**
 * The path on the phone without what changes between versions of iOS: since iOS 18 a `file://` path ends in a `#fragment`. The
 * catalogue compares paths the same way (`iclood_asset_key`).
 */
export function withoutFragment(path: string): string {
  return path.startsWith('file://') ? (path.split('#', 1)[0] ?? path) : path
}

/** The last component of a path on the phone, percent-decoded in a `file://` path; empty if there is none. */
export function nameOnPhone(path: string): string {
  const last = withoutFragment(path).split('/').at(-1) ?? ''
  if (!path.startsWith('file://')) return last
  try {
    const name = decodeURIComponent(last)
    return name.includes('\0') ? last : name
  } catch (error) {
    if (error instanceof URIError) return last
    throw error
  }
}

/** The path without its extension, which both halves of a Live Photo share; null if it has no extension. */
export function stemOnPhone(path: string): string | null {
  return /^(.*[^/])\.[^./]+$/s.exec(withoutFragment(path))?.[1] ?? null
}
