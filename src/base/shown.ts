/*
 * What others wrote (names of devices and files, paths, lines on a drive) as it is shown to people: nowhere may it be
 * taken for an order, for words of ours, or for other words than it holds.
 */

/**
 * What shows nothing itself and changes what is around it: controls, format characters (directions, zero widths, tags),
 * ends of lines and paragraphs, halves of surrogate pairs. Not the two joiners, which are part of words and emoji.
 */
export const UNSHOWN = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

/** `text` without what shows nothing: format characters are dropped, all else of that kind becomes a space. */
export function shown(text: string): string {
  return text.replace(UNSHOWN, (character) => (/\p{Cf}/u.test(character) ? '' : ' ')).trim()
}

/** `text` for a terminal, in one line: what shows nothing is written as `\u001b` or `\u{e0041}`. Idempotent. */
export function printable(text: string): string {
  return text.replace(UNSHOWN, (character) => {
    const code = (character.codePointAt(0) ?? 0).toString(16)
    return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, '0')}`
  })
}

/** The same JSON, which a terminal may print: in its texts what shows nothing is escaped. Spaces and lines stay. */
export function printableJson(json: string): string {
  // Below 0x20 there is nothing but JSON's own spaces and ends of lines: it escapes the others itself.
  return json.replace(UNSHOWN, (character) => {
    if (character < ' ') return character
    const units = character.split('')
    return units.map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')
  })
}

const QUOTED_LENGTH = 40

/**
 * A name in a sentence: in quotes, at most 40 characters of it, and none of which a program that shows the message
 * makes something else than text (markup, addresses of web pages, mentions, further quotes).
 */
export function quoted(name: string): string {
  const plain = shown(name)
    .replace(/[^\p{L}\p{M}\p{N}\p{So}\p{Cf} '’,()&+.\-_]+/gu, ' ')
    // `evil.example` would become a link.
    .replace(/\.(?=[\p{L}\p{N}])/gu, '. ')
    .replace(/ {2,}/g, ' ')
    .trim()
  const characters = [...plain]
  const short = characters.length > QUOTED_LENGTH ? `${characters.slice(0, QUOTED_LENGTH - 1).join('')}…` : plain
  return `"${short}"`
}
