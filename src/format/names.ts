import { UNSHOWN } from '../base/shown.ts'
import { SUMS_FILE } from './layout.ts'

const MAX_NAME_BYTES = 255
const MAX_EXTENSION_BYTES = 32
const RESERVED = /^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])$/i

/**
 * Makes a phone's file name safe on every drive and computer: ext4, exFAT, NTFS, APFS, Windows, macOS. Keeps Unicode,
 * in NFC, but for what shows nothing and changes what is around it, such as a reversal of the direction. Of a path only
 * the last component is kept. `fallback` (itself safe, such as `photo.jpg`) is returned when nothing is left. The
 * result has at most 255 bytes of UTF-8, cut before the extension. Idempotent.
 */
export function safeName(name: string, fallback: string): string {
  const last = name.toWellFormed().normalize('NFC').split(/[/\\]/).at(-1) ?? ''
  const clean = last
    .replace(UNSHOWN, '_')
    .replace(/[:*?"<>|]/g, '_')
    .replace(/^[.]+/, '')
    .replace(/[. ]+$/, '')
  if (clean === '') return fallback
  const { stem, extension } = splitName(withoutReserved(clean))
  // A cut takes the spaces before it along, and may leave a device's name that was none.
  return withoutReserved(shorten(stem, extension))
}

/** Windows reserves a device's name whatever follows its first dot, and ignores spaces before that dot. */
function withoutReserved(name: string): string {
  const device = name.split('.', 1)[0]?.trimEnd() ?? ''
  return RESERVED.test(device) ? `_${name}` : name
}

/**
 * Splits `IMG_0042.HEIC` into `IMG_0042` and `.HEIC`. A dot at the start, or a tail too long to be one, is no
 * extension.
 */
export function splitName(name: string): { stem: string; extension: string } {
  const dot = name.lastIndexOf('.')
  if (dot <= 0 || Buffer.byteLength(name.slice(dot)) > MAX_EXTENSION_BYTES) return { stem: name, extension: '' }
  return { stem: name.slice(0, dot), extension: name.slice(dot) }
}

/** The `n`th name to try for `name`, from 1: `a.jpg`, `a (2).jpg`, `a (3).jpg`… Never longer than 255 bytes. */
export function numberedName(name: string, n: number): string {
  if (n === 1) return name
  const { stem, extension } = splitName(name)
  return shorten(stem, ` (${n})${extension}`)
}

/**
 * Two names with one key are the same name to at least one of exFAT, APFS and Windows: they differ only in case or
 * Unicode form, or in characters that show nothing. Some names that no drive confuses share a key as well (`ß` and
 * `ss`), which costs a number, not a photo.
 */
export function nameKey(name: string): string {
  return name
    .normalize('NFD')
    .replace(/\p{Default_Ignorable_Code_Point}/gu, '')
    .toLowerCase()
    .toUpperCase()
    .normalize('NFC')
}

/** Whether a file of this name would be the folder's SHA256SUMS, on some drive at least. */
export function isSumsName(name: string): boolean {
  return nameKey(name) === nameKey(SUMS_FILE)
}

/** Shortens `stem` by whole characters until it fits before `tail`; a cut never leaves a trailing dot or space. */
function shorten(stem: string, tail: string): string {
  const room = MAX_NAME_BYTES - Buffer.byteLength(tail)
  if (Buffer.byteLength(stem) <= room) return stem + tail
  let cut = ''
  let bytes = 0
  for (const { segment } of new Intl.Segmenter(undefined, { granularity: 'grapheme' }).segment(stem)) {
    bytes += Buffer.byteLength(segment)
    if (bytes > room) break
    cut += segment
  }
  // A single grapheme may be longer than the room (a letter under a hundred accents): then code points must do.
  if (cut === '') cut = cutCodePoints(stem, room)
  // Of nothing but dots and spaces nothing would be left, and the tail's dot would lead.
  return (cut.replace(/[. ]+$/, '') || '_') + tail
}

function cutCodePoints(text: string, room: number): string {
  let cut = ''
  let bytes = 0
  for (const character of text) {
    bytes += Buffer.byteLength(character)
    if (bytes > room) break
    cut += character
  }
  return cut
}
