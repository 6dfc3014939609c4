import { asUtc, type DateSource, parseDate } from './capture-date.ts'
import type { Found } from './found.ts'
import type { Bytes } from './read.ts'

const MAX_PACKET = 256 * 1024
const MAX_DEPTH = 32
const MAX_NAME = 128
/** No date is longer, however it is escaped. */
const MAX_VALUE = 256

/** Namespaces by their names in the standard (ISO 16684-1); a packet may call them otherwise. */
const PREFIXES: Readonly<Record<string, string>> = {
  'http://ns.adobe.com/exif/1.0/': 'exif',
  'http://ns.adobe.com/photoshop/1.0/': 'photoshop',
  'http://ns.adobe.com/xap/1.0/': 'xmp',
  'http://ns.adobe.com/tiff/1.0/': 'tiff',
  'http://ns.adobe.com/xmp/note/': 'xmpNote',
  'http://ns.adobe.com/xap/1.0/mm/': 'xmpMM',
  'http://www.w3.org/1999/02/22-rdf-syntax-ns#': 'rdf',
}

const DATES: Readonly<Record<string, DateSource>> = {
  'exif:DateTimeOriginal': 'xmp-original',
  'photoshop:DateCreated': 'xmp-created',
  'xmp:CreateDate': 'xmp-digitized',
  'xap:CreateDate': 'xmp-digitized',
  'exif:DateTimeDigitized': 'xmp-digitized',
  'xmp:ModifyDate': 'modified',
  'xap:ModifyDate': 'modified',
  'tiff:DateTime': 'modified',
  'exif:GPSTimeStamp': 'gps',
}

const EXTENDED = 'xmpNote:HasExtendedXMP'
/** Holds the packets of other files, which this one was made of. */
const PANTRY = 'xmpMM:Pantry'

/**
 * Reads the dates of a packet of XMP, in any of its forms: as attributes, as elements, with values inside; in UTF-8, 16
 * or 32. Damaged packets are read as far as they go. Returns which extension the packet says it has, if any.
 */
export async function readXmp(bytes: Bytes, found: Found): Promise<string | undefined> {
  if (found.has('xmp-original')) return undefined
  const data = await bytes.read(0, Math.min(bytes.size, MAX_PACKET))
  let extension: string | undefined
  const values = data === undefined ? [] : properties(decode(data))
  for (const [name, value] of values) {
    if (name === EXTENDED) extension ??= value
    const source = Object.hasOwn(DATES, name) ? DATES[name] : undefined
    if (source === undefined) continue
    const date = parseDate(value)
    found.noteDate(source, source === 'gps' && date?.offsetMinutes !== undefined ? asUtc(date) : date)
  }
  return extension
}

/** What is before the packet, such as a mark of the byte order, does not matter. */
function decode(data: Buffer): string {
  const at = Math.max(data.indexOf('<'), 0)
  if (data[at + 1] !== 0) return data.toString('latin1', at)
  // The names and dates are all ASCII: without its zeros, UTF-32 reads like that.
  if (data[at + 2] === 0) return data.toString('latin1', at).replaceAll('\0', '')
  return data[at - 1] === 0 ? swappedPairs(data.subarray(at - 1)).toString('utf16le') : data.toString('utf16le', at)
}

function swappedPairs(data: Buffer): Buffer {
  return Buffer.from(data.subarray(0, data.length - (data.length % 2))).swap16()
}

/**
 * Yields the values of properties: attributes, and text within their elements, however deep. Goes through the text
 * once, whatever it is.
 */
function* properties(text: string): Generator<[name: string, value: string]> {
  const prefixes = new Map<string, string>()
  // For each open element the property that its text belongs to.
  const open: (string | undefined)[] = []
  for (let at = text.indexOf('<'); at !== -1; ) {
    const end = endOfMarkup(text, at)
    if (end === undefined || open.length > MAX_DEPTH) return
    const kind = text[at + 1]
    if (kind === '/') open.pop()
    if (kind !== '/' && kind !== '?' && kind !== '!') {
      const tag = text.slice(at + 1, end - 1)
      const attributes = attributesOf(tag)
      for (const [name, uri] of attributes) {
        if (name.startsWith('xmlns:')) prefixes.set(name.slice(6), PREFIXES[uri] ?? name.slice(6))
      }
      const around = open.at(-1)
      const property = propertyOf(nameOf(tag), prefixes, around)
      for (const [name, value] of attributes) {
        const described = propertyOf(name, prefixes, name.endsWith(':value') ? property : undefined)
        if (around !== PANTRY && described !== undefined) yield [described, unescaped(value)]
      }
      if (!tag.endsWith('/')) open.push(property)
    }
    const next = text.indexOf('<', end)
    const property = open.at(-1)
    if (property !== undefined && next !== -1)
      yield [property, unescaped(text.slice(end, Math.min(next, end + MAX_VALUE)))]
    at = next
  }
}

/**
 * The property that an element or attribute is, by its name in the standard; if it is none that matters, the one around
 * it.
 */
function propertyOf(
  name: string,
  prefixes: ReadonlyMap<string, string>,
  around: string | undefined,
): string | undefined {
  if (around === PANTRY) return around
  const colon = name.indexOf(':')
  const prefix = name.slice(0, Math.max(colon, 0))
  const standard = `${prefixes.get(prefix) ?? prefix}:${name.slice(colon + 1)}`
  return Object.hasOwn(DATES, standard) || standard === EXTENDED || standard === PANTRY ? standard : around
}

function nameOf(tag: string): string {
  return tag.slice(0, MAX_NAME).match(/^[^\s/]*/)?.[0] ?? ''
}

/**
 * The index behind the `>` that ends what begins at `start`, which may stand in quotes; undefined if nothing ends it.
 */
function endOfMarkup(text: string, start: number): number | undefined {
  for (const [opening, closing] of [
    ['<!--', '-->'],
    ['<![CDATA[', ']]>'],
    ['<?', '?>'],
  ] as const) {
    if (text.startsWith(opening, start)) return behind(text, closing, start + opening.length)
  }
  let quote: string | undefined
  for (let at = start + 1; at < text.length; at += 1) {
    const character = text[at]
    if (quote !== undefined) quote = character === quote ? undefined : quote
    else if (character === '"' || character === "'") quote = character
    else if (character === '>') return at + 1
  }
  return undefined
}

function behind(text: string, closing: string, from: number): number | undefined {
  const at = text.indexOf(closing, from)
  return at === -1 ? undefined : at + closing.length
}

/**
 * Names and values of a start tag. All but the name of an attribute ends at the first quote, so nothing is tried twice.
 */
function attributesOf(tag: string): [name: string, value: string][] {
  const attributes: [string, string][] = []
  let at = 0
  for (;;) {
    const equals = tag.indexOf('=', at)
    if (equals === -1) return attributes
    const name =
      tag
        .slice(Math.max(at, equals - MAX_NAME), equals)
        .trim()
        .split(/\s/)
        .at(-1) ?? ''
    const opening = equals + 1 + (tag.slice(equals + 1, equals + 1 + MAX_NAME).match(/^\s*/)?.[0].length ?? 0)
    const closing = tag.indexOf(tag[opening] === "'" ? "'" : '"', opening + 1)
    if (closing === -1) return attributes
    attributes.push([name, tag.slice(opening + 1, Math.min(closing, opening + 1 + MAX_VALUE))])
    at = closing + 1
  }
}

function unescaped(text: string): string {
  return text
    .replace(/&#(?:x([0-9a-f]{1,6})|(\d{1,7}));/gi, (whole, hex: string | undefined, decimal: string) => {
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)
      return code <= 0x10ffff ? String.fromCodePoint(code) : whole
    })
    .trim()
}
