/** A header value such as `form-data; name="file"`: its first word, and its parameters in order. */
export interface ParameterizedHeader {
  /** What stands before the first semicolon, trimmed and in lower case. */
  main: string
  /** Names in lower case, values without their quotes; an element without `=` has the value `undefined`. */
  parameters: readonly { name: string; value: string | undefined }[]
}

/**
 * Reads a header value with parameters (RFC 2045 section 5.1, RFC 9110 section 5.6.6), in time linear in its length.
 * More lenient than the grammar, because phones write raw file names between quotes: a quote inside a quoted value that
 * isn't followed by a semicolon or the end belongs to the value, a backslash escapes only a quote or a backslash, and a
 * missing closing quote is taken to stand at the end.
 */
export function parseParameters(header: string): ParameterizedHeader {
  const [main = '', ...elements] = splitAtSemicolons(header)
  return {
    main: main.trim().toLowerCase(),
    parameters: elements
      .map((element) => element.trim())
      .filter((element) => element !== '')
      .map((element) => {
        const equals = element.indexOf('=')
        if (equals < 0) return { name: element.toLowerCase(), value: undefined }
        const name = element.slice(0, equals).trim().toLowerCase()
        return { name, value: unquote(element.slice(equals + 1).trim()) }
      }),
  }
}

function splitAtSemicolons(header: string): string[] {
  const elements: string[] = []
  let start = 0
  let quoted = false
  let afterEquals = false
  for (let at = 0; at < header.length; at++) {
    const char = header[at]
    if (quoted) {
      if (isEscape(header, at)) at++
      else if (char === '"' && endsValue(header, at + 1)) quoted = false
    } else if (char === ';') {
      elements.push(header.slice(start, at))
      start = at + 1
    } else if (char === '"' && afterEquals) {
      quoted = true
    }
    if (char !== ' ' && char !== '\t') afterEquals = char === '='
  }
  elements.push(header.slice(start))
  return elements
}

function isEscape(text: string, at: number): boolean {
  return text[at] === '\\' && (text[at + 1] === '"' || text[at + 1] === '\\')
}

function endsValue(text: string, from: number): boolean {
  let at = from
  while (text[at] === ' ' || text[at] === '\t') at++
  return at === text.length || text[at] === ';'
}

function unquote(value: string): string {
  if (!value.startsWith('"')) return value
  const end = value.length > 1 && value.endsWith('"') ? -1 : undefined
  return value.slice(1, end).replace(/\\(["\\])/g, '$1')
}
