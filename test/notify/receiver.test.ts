import { describe, expect, it } from 'vitest'
import type { Alert } from '../../src/catalogue/alerts.ts'
import { encodeHeader, receiverAt } from '../../src/notify/receiver.ts'
import { fc } from '../support/property.ts'

const raised: Alert = {
  key: 'drive_missing',
  severity: 'error',
  title: 'The drive is missing',
  message: 'Connect it.',
  since: new Date('2026-03-01T02:00:00Z'),
  raisedAt: new Date('2026-03-01T02:00:05Z'),
  clearedAt: null,
  isNote: false,
  edition: 1,
}
const cleared: Alert = { ...raised, clearedAt: new Date('2026-03-01T03:00:00Z') }

/** What a reader of RFC 2047 makes of a header. */
function decodeHeader(text: string): string {
  if (!text.startsWith('=?')) return text
  const words = text.split(' ').map((word) => /^=\?UTF-8\?B\?([A-Za-z0-9+/=]*)\?=$/.exec(word)?.[1])
  return words.map((word) => Buffer.from(word ?? 'not an encoded word', 'base64').toString()).join('')
}

describe('a header', () => {
  it.each([
    ['The drive is missing', 'The drive is missing'],
    ['Müll', '=?UTF-8?B?TcO8bGw=?='],
    ['a\r\nX-Evil: 1', 'a X-Evil: 1'],
    ['=?UTF-8?B?QQ==?=', '=?UTF-8?B?PT9VVEYtOD9CP1FRPT0/PQ==?='],
    ['', ''],
  ])('of %j is %j', (text, header) => {
    expect(encodeHeader(text)).toBe(header)
  })

  it('is short words of ASCII that say the same, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 300 }), (text) => {
        const header = encodeHeader(text)
        expect(header).toMatch(/^[ -~]*$/)
        const line = text
          .toWellFormed()
          .replace(/\p{Cc}+/gu, ' ')
          .trim()
        expect(decodeHeader(header)).toBe(line)
        if (header.startsWith('=?')) for (const word of header.split(' ')) expect(word.length).toBeLessThanOrEqual(75)
      }),
    )
  })
})

describe('a receiver', () => {
  it.each([
    ['ntfy://ntfy.lan/topic', 'http://ntfy.lan/topic', undefined],
    ['ntfys://ntfy.sh/topic', 'https://ntfy.sh/topic', undefined],
    ['ntfy://127.0.0.1:8090/our-photos', 'http://127.0.0.1:8090/our-photos', undefined],
    ['ntfys://anna:p%40ss@ntfy.sh/topic', 'https://ntfy.sh/topic', 'anna:p@ss'],
    ['ntfys://:tk_token@ntfy.sh/topic', 'https://ntfy.sh/topic', ':tk_token'],
    ['https://anna:a%20b@[::1]:8443/hook?x=1', 'https://[::1]:8443/hook?x=1', 'anna:a b'],
    ['http://user@example.org/', 'http://example.org/', 'user:'],
    ['http://100%25:100%@example.org/', 'http://example.org/', '100%:100%'],
  ])('at %s is sent to at %s', (address, url, credentials) => {
    const letter = receiverAt(address).letter(raised)
    expect(letter.url).toBe(url)
    const { authorization } = letter.headers
    expect(authorization).toBe(credentials && `Basic ${Buffer.from(credentials).toString('base64')}`)
  })

  it('has an id that tells nothing of its address, and a host without what is secret', () => {
    const receiver = receiverAt('ntfys://anna:secret@ntfy.sh/topic')
    expect(receiver.id).toMatch(/^[0-9a-f]{64}$/)
    expect(receiver.host).toBe('ntfy.sh')
    expect(receiverAt('ntfys://anna:secret@ntfy.sh/topic2').id).not.toBe(receiver.id)
  })

  it('of JSON gets what has happened in one object', () => {
    const receiver = receiverAt('https://example.org/hook')
    expect(JSON.parse(receiver.letter(raised).body)).toEqual({
      app: 'iclood',
      event: 'raised',
      key: 'drive_missing',
      severity: 'error',
      title: 'The drive is missing',
      message: 'Connect it.',
      since: '2026-03-01T02:00:00.000Z',
      at: '2026-03-01T02:00:05.000Z',
    })
    expect(JSON.parse(receiver.letter(cleared).body)).toMatchObject({
      event: 'cleared',
      title: 'Solved: The drive is missing',
      since: '2026-03-01T02:00:00.000Z',
      at: '2026-03-01T03:00:00.000Z',
    })
  })

  it('of ntfy gets what its phone shows: quieter when it is over', () => {
    const receiver = receiverAt('ntfys://ntfy.sh/topic')
    expect(receiver.letter(raised)).toMatchObject({
      body: 'Connect it.',
      headers: { title: 'iClood: The drive is missing', priority: 'high', tags: 'warning' },
    })
    expect(receiver.letter({ ...raised, severity: 'warning' }).headers).toMatchObject({ priority: 'default' })
    expect(receiver.letter(cleared).headers).toMatchObject({
      title: 'iClood: Solved: The drive is missing',
      priority: 'default',
      tags: 'white_check_mark',
    })
  })

  it('of ntfy never gets more than ntfy takes as a message', () => {
    const long = { ...raised, title: '🦄'.repeat(500), message: '🦄'.repeat(5000) }
    const { headers, body } = receiverAt('ntfys://ntfy.sh/topic').letter(long)
    expect(Buffer.byteLength(body)).toBeLessThanOrEqual(4096)
    expect(headers['title']?.length).toBeLessThan(2000)
    expect(body.isWellFormed()).toBe(true)
  })
})
