import { Ajv } from 'ajv'
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

// The validator that Fastify has loaded anyway. Formats only describe answers; JSON can spell infinity (1e999).
const ajv = new Ajv({ strict: false, strictNumbers: true, validateFormats: false })

/** Compiles a schema for values that do not come in through a route's own validation. Nothing is coerced. */
export function checker<Schema extends TSchema>(schema: Schema): Checker<Schema> {
  const validate = ajv.compile(schema)
  return {
    fits: (value): value is Static<Schema> => validate(value),
    finding: () => {
      const { instancePath = '', message = 'is not as expected' } = validate.errors?.[0] ?? {}
      return { instancePath, message }
    },
  }
}
