import { Writable } from 'node:stream'
import { expect, it } from 'vitest'
import { createOutput, describeError } from '../../src/base/log.ts'
import { AppError } from '../../src/errors.ts'

it('what can happen in any household is logged as a sentence, what nobody foresaw with its stack', () => {
  const refused = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:5432'), { code: 'ECONNREFUSED' })
  const away = new AppError('database_unavailable', 'The database can’t be reached.', { cause: refused })
  expect(describeError(away)).toBe('The database can’t be reached. (connect ECONNREFUSED 127.0.0.1:5432)')
  expect(describeError(refused)).toBe('connect ECONNREFUSED 127.0.0.1:5432')
  expect(describeError(new TypeError('a defect'))).toMatchObject({ stack: expect.stringContaining('log.test') })
})

/** A stream that a log is written to, as a terminal or not. */
function sink(isTTY: boolean): { stdout: NodeJS.WriteStream; text: () => string } {
  let text = ''
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += chunk
      done()
    },
  })
  return { stdout: Object.assign(stream, { isTTY, columns: 80 }) as unknown as NodeJS.WriteStream, text: () => text }
}

const HOSTILE = 'IMG\u001b[2J\u009b31m\u202e\r\n[09:00:00] INFO: all is well\u0007'
/** Colours of our own are what a terminal may be told. */
const COLOURS = /\p{Cc}\[[0-9;]*m/gu

it.each([true, false])('names that others chose tell a terminal nothing (is it one: %s)', async (isTTY) => {
  const { stdout, text } = sink(isTTY)
  const { log, show } = await createOutput('debug', stdout)
  log.warn({ path: HOSTILE, list: [{ name: HOSTILE }], err: new Error(HOSTILE) }, `a photo called ${HOSTILE}`)
  show?.(`1 photo from ${HOSTILE}`)
  await new Promise((resolve) => setImmediate(resolve))
  const said = text().replace(COLOURS, '')
  expect(said).toContain('a photo called IMG')
  expect(said.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u)
  expect(said).not.toMatch(/^\[09:00:00\]/m)
  if (!isTTY) expect(JSON.parse(said)).toMatchObject({ path: HOSTILE, msg: `a photo called ${HOSTILE}` })
})
