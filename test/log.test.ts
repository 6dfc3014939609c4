import { expect, it } from 'vitest'
import { AppError } from '../src/errors.ts'
import { describeError } from '../src/log.ts'

it('what can happen in any household is logged as a sentence, what nobody foresaw with its stack', () => {
  const refused = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:5432'), { code: 'ECONNREFUSED' })
  const away = new AppError('database_unavailable', 'The database can’t be reached.', { cause: refused })
  expect(describeError(away)).toBe('The database can’t be reached. (connect ECONNREFUSED 127.0.0.1:5432)')
  expect(describeError(refused)).toBe('connect ECONNREFUSED 127.0.0.1:5432')
  expect(describeError(new TypeError('a defect'))).toMatchObject({ stack: expect.stringContaining('log.test') })
})
