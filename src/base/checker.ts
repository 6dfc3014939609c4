import { createRequire } from 'node:module'
import type { Ajv, KeywordCxt, ValidateFunction } from 'ajv'
import type { Static, TSchema } from 'typebox'

/** What is wrong with a value: where, as a JSON pointer, and what was expected there. */
export interface Finding {
  instancePath: string
  message: string
}

export interface Checker<Schema extends TSchema> {
  fits(value: unknown): value is Static<Schema>
  /** What was wrong with the value that did not fit last. */
  finding(): Finding
}

const require = createRequire(import.meta.url)
let ajv: Ajv | undefined

/**
 * The validator that Fastify loads, too; a command that checks nothing need not read it. Formats only describe answers;
 * JSON can spell infinity (1e999). Beside JSON Schema's keywords a text or an object may have `holds`, a function: what
 * it returns of a value of that type must be true.
 */
function validator(): Ajv {
  if (ajv !== undefined) return ajv
  const { Ajv: Validator, _ } = require('ajv') as typeof import('ajv')
  ajv = new Validator({ strict: false, strictNumbers: true, validateFormats: false, validateSchema: false })
  return ajv.addKeyword({
    keyword: 'holds',
    type: ['string', 'object'],
    code(context: KeywordCxt) {
      const holds = context.gen.scopeValue('keyword', { ref: context.schema })
      context.pass(_`${holds}(${context.data})`)
    },
  })
}

/** Checks values that no route's own validation sees. A schema is compiled at its first value. Nothing is coerced. */
export function checker<Schema extends TSchema>(schema: Schema): Checker<Schema> {
  let compiled: ValidateFunction | undefined
  return {
    fits: (value): value is Static<Schema> => {
      compiled ??= validator().compile(schema) as ValidateFunction
      return compiled(value)
    },
    finding: () => {
      const { instancePath = '', message = 'is not as expected' } = compiled?.errors?.[0] ?? {}
      return { instancePath, message }
    },
  }
}
