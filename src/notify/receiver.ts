import { createHash } from 'node:crypto'
import { shown } from '../base/shown.ts'
import type { Alert } from '../catalogue/alerts.ts'

/** Somebody who wants to hear when something goes wrong, and when it is well again. */
export interface Receiver {
  /** Stands for its address in the catalogue; tells nothing of it. */
  readonly id: string
  /** What the log may say of its address, which can hold a password, or a topic that is one. */
  readonly host: string
  /** What is sent to it. */
  letter(alert: Alert): Letter
}

/** An HTTP POST. */
export interface Letter {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** What everybody is told, in the words of the generic webhook. Times are ISO 8601. */
export interface Notice {
  app: 'iclood'
  /** `raised` again if it has become more; `noted`: nothing is wrong now, but people should know. */
  event: 'raised' | 'cleared' | 'noted'
  key: string
  severity: string
  title: string
  message: string
  /** Since when it is, or was, so. */
  since: string
  /** When it was noticed that it is so, or is not any more. */
  at: string
}

/** `url` is one of NOTIFY_URL: `ntfy(s)://[user:password@]host/topic`, or `http(s)://…` that takes JSON. */
export function receiverAt(url: string): Receiver {
  const isNtfy = /^ntfys?:/i.test(url)
  const { href, host, headers: ours } = addressOf(url.replace(/^ntfy(s?):/i, 'http$1:'))
  const write = isNtfy ? ntfyLetter : jsonLetter
  return {
    id: createHash('sha256').update(url).digest('hex'),
    host,
    letter: (alert) => {
      const { headers, body } = write(noticeOf(alert))
      return { url: href, headers: { ...headers, ...ours }, body }
    },
  }
}

/** Takes an `http(s)://[user:password@]…` apart: what to ask for, the host alone, and the headers that say who asks. */
export function addressOf(url: string): { href: string; host: string; headers: Record<string, string> } {
  const address = new URL(url)
  const { username, password, host } = address
  const credentials = `${decoded(username)}:${decoded(password)}`
  const headers: Record<string, string> = { 'user-agent': 'iClood' }
  if (credentials !== ':') headers['authorization'] = `Basic ${Buffer.from(credentials).toString('base64')}`
  address.username = ''
  address.password = ''
  return { href: address.href, host, headers }
}

/** Part of what is told is what others wrote: it is one line, and not a long one. */
function noticeOf(alert: Alert): Notice {
  const { key, title, message, ...rest } = wordsOf(alert)
  const short = (text: string, length: number) => shown(text).slice(0, length).toWellFormed()
  return {
    ...rest,
    key: short(key, TITLE_LENGTH),
    title: short(title, TITLE_LENGTH),
    message: short(message, MESSAGE_LENGTH),
  }
}

function wordsOf(alert: Alert): Notice {
  const common = { app: 'iclood', key: alert.key, severity: alert.severity, since: alert.since.toISOString() } as const
  if (alert.clearedAt === null) {
    const { title, message } = alert
    const event = alert.isNote ? 'noted' : 'raised'
    return { ...common, event, title, message, at: alert.raisedAt.toISOString() }
  }
  const title = `Solved: ${alert.title}`
  const message = `This is well again. It was: ${alert.message}`
  return { ...common, event: 'cleared', title, message, at: alert.clearedAt.toISOString() }
}

function jsonLetter(notice: Notice): Omit<Letter, 'url'> {
  return { headers: { 'content-type': 'application/json' }, body: JSON.stringify(notice) }
}

/** ntfy makes an attachment of a longer message. */
const MESSAGE_LENGTH = 1000
const TITLE_LENGTH = 200

/** See https://docs.ntfy.sh/publish: the message is the body, all else is in headers. */
function ntfyLetter({ event, severity, title, message }: Notice): Omit<Letter, 'url'> {
  const raised = { priority: severity === 'error' ? 'high' : 'default', tags: 'warning' }
  const { priority, tags } = event === 'cleared' ? { priority: 'default', tags: 'white_check_mark' } : raised
  return {
    headers: {
      'content-type': 'text/plain; charset=utf-8',
      title: encodeHeader(`iClood: ${title}`.slice(0, TITLE_LENGTH).toWellFormed()),
      priority,
      tags,
    },
    body: message,
  }
}

/** Bytes of text in an encoded word, which may have 75 characters (RFC 2047 section 2). */
const WORD_BYTES = 45

/** A header's value in ASCII: as it is, or in encoded words (RFC 2047). What would end the header becomes a space. */
export function encodeHeader(text: string): string {
  const line = text.replace(/\p{Cc}+/gu, ' ').trim()
  if (/^[ -~]*$/.test(line) && !line.includes('=?')) return line
  const words: string[] = ['']
  for (const character of line) {
    const longer = words.at(-1) + character
    if (Buffer.byteLength(longer) <= WORD_BYTES) words[words.length - 1] = longer
    else words.push(character)
  }
  return words.map((word) => `=?UTF-8?B?${Buffer.from(word).toString('base64')}?=`).join(' ')
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    // A per cent sign that encodes nothing stands for itself.
    if (error instanceof URIError) return text
    throw error
  }
}
