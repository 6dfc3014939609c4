declare const checksum: unique symbol

/** The SHA-256 of an original, as 64 lower-case hexadecimal digits. */
export type Checksum = string & { readonly [checksum]: true }

const PATTERN = /^[0-9a-f]{64}$/i

/** Reads a checksum that somebody wrote, in either case; `undefined` if it is none. */
export function parseChecksum(text: string): Checksum | undefined {
  return PATTERN.test(text) ? (text.toLowerCase() as Checksum) : undefined
}
