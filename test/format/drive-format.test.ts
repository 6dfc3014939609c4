import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { LINES, titleOf } from '../../src/format/journal-record.ts'

/* docs/drive-format.md against the schemas: what other programs read the drive by is what this one does. */

/** What these tests look at of a schema, as JSON Schema has it. */
interface Described {
  type?: string
  const?: unknown
  enum?: unknown[]
  anyOf?: Described[]
  properties?: Record<string, Described>
  required?: string[]
  minimum?: number
  maximum?: number
}

const [, lines = ''] = readFileSync(join(import.meta.dirname, '../../docs/drive-format.md'), 'utf8').split('### Lines')
const schemas = Object.entries(LINES) as unknown as [string, Described][]

/** The table below the sentence that begins with the type of a line: member and type. */
function tableOf(type: string): [string, string][] {
  const [, chapter = ''] = lines.split(`\n\`${type}\` `)
  const rows = chapter.split('\n').filter((line) => line.startsWith('|'))
  const end = rows.findIndex((row, index) => index > 0 && row.startsWith('| member'))
  return rows
    .slice(2, end < 0 ? undefined : end)
    .map((row) => row.split('|').map((cell) => cell.trim()))
    .map(([, member = '', type = '']) => [member, type])
}

/** The rows that the table of a line must have, in order: those of all forms of the line together. */
function rowsOf(schema: Described): [string, string][] {
  const forms = schema.anyOf ?? [schema]
  const names = new Set(forms.flatMap(({ properties = {} }) => Object.keys(properties)))
  names.delete('type')
  return [...names].map((name) => {
    const all = forms.flatMap(({ properties = {} }) => properties[name] ?? [])
    const words = [...new Set(all.flatMap(wordsOf))]
    const isAlways = forms.every(({ required = [] }) => required.includes(name))
    const last = isAlways ? words : [...words, 'absent']
    return [`\`${name}\``, last.join(', ').replace(/, ([^,]+)$/, ' or $1')]
  })
}

function wordsOf(schema: Described): string[] {
  if (schema.anyOf !== undefined) return schema.anyOf.flatMap(wordsOf)
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${value}\``)
  if (schema.const !== undefined) return [`\`${schema.const}\``]
  if (schema.type === 'object') return ['original']
  return [schema.type === 'null' ? 'null' : (titleOf(schema) ?? 'of no type')]
}

it.each(schemas)(
  'the members of a line "%s" are those of its table, with their types, in their order',
  (type, schema) => {
    expect(tableOf(type)).toEqual(rowsOf(schema))
  },
)

it('an original in a backup has the members of an original’s line', () => {
  const { type, ...members } = LINES.original.properties
  expect(LINES.backup.properties.original.anyOf[0].properties).toEqual(members)
})

it('the bounds of numbers are those of the table of types, and every type is in it', () => {
  const types = new Map(
    [...lines.matchAll(/^\| ([a-z, ]+) \| ([^|]+) \|$/gm)].flatMap(([, names = '', text = '']) =>
      names.split(', ').map((name): [string, string] => [name, text]),
    ),
  )
  const members = schemas.flatMap(([, schema]) =>
    (schema.anyOf ?? [schema]).flatMap(({ properties }) => properties ?? []),
  )
  const each = members.flatMap((one) => Object.values(one)).flatMap((one) => one.anyOf ?? [one])
  const named = each.filter((one) => titleOf(one) !== undefined && one.enum === undefined)
  for (const schema of named) {
    const text = types.get(titleOf(schema)?.replace(/ \(\d+\)$/, '') ?? '')
    expect(text, titleOf(schema)).toBeDefined()
    if (schema.type !== 'integer') continue
    const [, minimum, maximum = String(Number.MAX_SAFE_INTEGER)] =
      /whole number from (\S+)(?: to ([^\s,]+))?/.exec(text ?? '') ?? []
    expect([minimum, maximum].map(numberOf), text).toEqual([schema.minimum, schema.maximum])
  }
})

/** Reads `12` and `2^43`. */
function numberOf(text = ''): number {
  const [base, exponent = '1'] = text.split('^')
  return Number(base) ** Number(exponent)
}
