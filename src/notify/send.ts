import type { Letter } from './receiver.ts'

/** A receiver that did not take what was sent. The message says why, and nothing of its address. */
export class NotDelivered extends Error {}

const TIMEOUT_MS = 15_000

/**
 * Sends a letter; returns once it was taken. Throws `NotDelivered` if nobody answers within 15 s or the answer is
 * anything but a success.
 */
export async function send({ url, headers, body }: Letter, signal: AbortSignal): Promise<void> {
  return deliver(url, { method: 'POST', headers, body }, 'NOTIFY_URL', signal)
}

/**
 * Makes a request to the address in the setting `setting`, and returns and throws as `send` does. Redirects are not
 * followed: what is sent, and the password with it, is for this address alone.
 */
export async function deliver(
  url: string,
  request: { method: 'GET' | 'POST'; headers: Readonly<Record<string, string>>; body?: string },
  setting: string,
  signal: AbortSignal,
): Promise<void> {
  const response = await fetch(url, {
    ...request,
    redirect: 'manual',
    signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
  }).catch((error: unknown) => {
    signal.throwIfAborted()
    throw new NotDelivered(reasonOf(error))
  })
  await response.body?.cancel()
  if (response.ok) return
  const isRedirect = response.status >= 300 && response.status < 400
  const advice = isRedirect ? `, a redirect, which is not followed: put its new address into ${setting}` : ''
  throw new NotDelivered(`it answered ${response.status}${advice}`)
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'it could not be reached'
  if (error.name === 'TimeoutError') return `it did not answer within ${TIMEOUT_MS / 1000} seconds`
  const { cause } = error
  const code = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? ` (${cause.code})` : ''
  return `it could not be reached${code}`
}
