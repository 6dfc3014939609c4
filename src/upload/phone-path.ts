import { mediaTypeByName } from '../media/media-type.ts'

/**
 * The path on the phone without what changes between versions of iOS: since iOS 18 a `file://` path ends in a
 * `#fragment`. The catalogue compares paths the same way (`iclood_asset_key`).
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

/** Characters that show nothing: a name of nothing else is none. */
const BLANK = '.\\s\\p{Default_Ignorable_Code_Point}'
const ONLY_BLANKS = new RegExp(`^[${BLANK}]*$`, 'u')
const ONLY_EXTENSION = new RegExp(`^[${BLANK}]*[.]([^${BLANK}]+)[${BLANK}]*$`, 'u')

/**
 * A file's name as it is to be kept: empty if it shows nothing, with `stem` before it if it is no more than an
 * extension of photos or videos.
 */
export function wholeName(name: string, stem: string): string {
  const last = name.split(/[/\\]/).at(-1) ?? ''
  if (ONLY_BLANKS.test(last)) return ''
  const extension = ONLY_EXTENSION.exec(last)?.[1]
  return extension !== undefined && mediaTypeByName(`.${extension}`) !== undefined ? `${stem}.${extension}` : name
}

/** The path without its extension, which both halves of a Live Photo share; null if it has no extension. */
export function stemOnPhone(path: string): string | null {
  return /^(.*[^/])\.[^./]+$/s.exec(withoutFragment(path))?.[1] ?? null
}
