import { sql } from 'kysely'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { numberColumn, textColumn } from '../../src/catalogue/columns.ts'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { startTestDatabase } from '../support/postgres.ts'

let db: Database

beforeAll(async () => {
  const database = await startTestDatabase()
  db = openDatabase(database.connection, () => {})
})
afterAll(() => db.destroy())

it.each<[string, (string | null)[]]>([
  ['nothing', []],
  ['one text', ['a']],
  ['nulls', [null, 'a', null]],
  ['what arrays would have to quote', ['"', '\\', '{}', ',', 'NULL', '', ' ', '\n']],
  ['all of Unicode', ['é', '猫', '😀', '\u001f', '\uffff']],
])('texts arrive as they are: %s', async (_, texts) => {
  const { rows } = await sql<{ texts: string[] }>`select ${textColumn(texts, (text) => text)}::text[] as texts`.execute(
    db,
  )
  expect(rows).toEqual([{ texts }])
})

it.each<[string, (number | null)[]]>([
  ['nothing', []],
  ['nulls', [null, 1, null]],
  ['all kinds', [0, -1, 0.1, 1.5e300, Number.MAX_SAFE_INTEGER, 1719828000123.456]],
])('numbers arrive as they are: %s', async (_, numbers) => {
  const { rows } = await sql<{ numbers: number[] }>`
    select ${numberColumn(numbers, (number) => number)}::float8[] as numbers`.execute(db)
  expect(rows).toEqual([{ numbers }])
})
