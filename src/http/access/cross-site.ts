import type { IncomingHttpHeaders } from 'node:http'

/** What is known about the page that a browser sends a request for. */
export type Site =
  /** No page, or one of this server's own. */
  | { kind: 'own' }
  /** One of another server that may call this one. `origin` is its `Origin` header. */
  | { kind: 'listed'; origin: string }
  | { kind: 'foreign' }

/**
 * Returns the judge of the pages that requests come from. `listed` are origins such as `https://photos.example.com`;
 * neither `*` nor `null`, which every page can be, lists anything. `ownOrigin` is that of the request's own URL.
 */
export function createSiteJudge(listed: readonly string[]): (headers: IncomingHttpHeaders, ownOrigin: string) => Site {
  const origins = new Set(listed.map((origin) => parseOrigin(origin.trim().replace(/\/$/, ''))))
  origins.delete(undefined)
  return (headers, ownOrigin) => {
    if (headers.origin !== undefined) {
      const origin = parseOrigin(headers.origin)
      if (origins.has(origin)) return { kind: 'listed', origin: headers.origin }
      if (origin === undefined || origin !== parseOrigin(ownOrigin)) return { kind: 'foreign' }
    }
    // Only browsers send it, and pages can't set it.
    return /\bcross-site\b/i.test(String(headers['sec-fetch-site'] ?? '')) ? { kind: 'foreign' } : { kind: 'own' }
  }
}

/** Whether a request is a browser's question if it may send another one (the preflight of the Fetch standard). */
export function isPreflight(method: string, headers: IncomingHttpHeaders): boolean {
  return method === 'OPTIONS' && headers.origin !== undefined && 'access-control-request-method' in headers
}

/**
 * The headers of an answer to a page of the listed `origin`: of a `preflight`, which is to be answered 204, or of a
 * `simple` answer of any status. Where origins are listed, answers without an origin carry `Vary: Origin` too.
 */
export function corsHeaders(origin: string, kind: 'preflight' | 'simple'): Record<string, string> {
  const simple = { 'access-control-allow-origin': origin, vary: 'Origin' }
  if (kind === 'simple') return simple
  return {
    ...simple,
    'access-control-allow-methods': 'GET, HEAD, POST',
    'access-control-allow-headers': 'Authorization, Content-Type',
    'access-control-max-age': '600',
  }
}

/** An origin in its one spelling; undefined for `null`, `*`, and whatever has more than scheme, host and port. */
function parseOrigin(text: string): string | undefined {
  if (!/^[a-z][a-z\d+.-]*:\/\/[^/?#@\\\s*,]+$/i.test(text) || !URL.canParse(text)) return undefined
  const url = new URL(text)
  // The URL standard knows no origin of schemes such as `capacitor`.
  return url.origin === 'null' ? text.toLowerCase() : url.origin.replace(/\.(?=$|:\d+$)/, '')
}
