import busboy from 'busboy'
import { AppError } from '../../../src/errors.ts'
import { boundaryOf } from '../../../src/http/multipart/multipart.ts'
import { check, type Target } from '../target.ts'

/** Content-Type headers of uploads: where we and busboy take one, it is for the same boundary. */
export const boundary: Target = {
  name: 'boundary',
  seeds: [
    'multipart/form-data; boundary=abc',
    'multipart/form-data; boundary="a b\'(c)"',
    'Multipart/Form-Data;charset=utf-8 ; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW',
    `multipart/form-data; boundary=${'x'.repeat(70)}`,
    'application/json',
  ].map((text) => Buffer.from(text)),
  tokens: [
    'multipart/',
    'form-data',
    'boundary=',
    '; boundary=x',
    '; ',
    '"',
    '\\"',
    '=',
    ' ',
    "'",
    'boundary="',
    'BOUNDARY',
    '\\',
  ],
  inTests: 4000,
  run(input) {
    const header = input.toString('latin1')
    const ours = boundaryIn(header)
    if (ours === undefined) return
    check(/^[\x20-\x7e]{1,70}$/.test(ours), 'No boundary of RFC 2046 was taken', ours)
    // More lenient on purpose: what stands between quotes is taken as it is, and parameters may be anything.
    if (!/^multipart\/form-data(?:; ?\w+=(?:[\w-]+|"[\w '()+,./:=?-]*"))+$/i.test(header)) return
    const named = header.replace(/"[^"]*"/g, '""').match(/\bboundary=/gi) ?? []
    check(named.length === 1, 'One of several boundaries is taken', header)
    check(busboyTakes(header, ours), 'busboy takes another boundary', ours)
  },
}

function boundaryIn(header: string): string | undefined {
  try {
    return boundaryOf(header)
  } catch (error) {
    if (error instanceof AppError) return undefined
    throw error
  }
}

/** Whether a body with this boundary has a field for busboy. */
function busboyTakes(header: string, boundary: string): boolean {
  let fields = 0
  const parser = busboy({ headers: { 'content-type': header } })
  parser.on('error', () => {})
  parser.on('field', () => {
    fields++
  })
  parser.write(`--${boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--${boundary}--\r\n`)
  parser.destroy()
  return fields === 1
}
