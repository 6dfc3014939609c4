/*
 * Long lists as parameters of a statement: arrays in PostgreSQL's binary format (array_send), in which nothing has to be quoted here or read there.
 * node-postgres sends a `Buffer` as it is.
 */

const HEADER_BYTES = 20
const LENGTH_BYTES = 4
const FLOAT8_BYTES = 8
const TEXT_OID = 25
const FLOAT8_OID = 701

/** A `text[]`. */
export function textColumn(values: readonly (string | null)[]): Buffer {
  let bytes = HEADER_BYTES
  for (const value of values) bytes += LENGTH_BYTES + (value === null ? 0 : Buffer.byteLength(value))
  const column = begin(TEXT_OID, values.length, bytes)
  let at = HEADER_BYTES
  for (const value of values) {
    const written = value === null ? 0 : column.write(value, at + LENGTH_BYTES)
    column.writeInt32BE(value === null ? -1 : written, at)
    at += LENGTH_BYTES + written
  }
  return column
}

/** A `float8[]`. */
export function numberColumn(values: readonly (number | null)[]): Buffer {
  const column = begin(FLOAT8_OID, values.length, HEADER_BYTES + values.length * (LENGTH_BYTES + FLOAT8_BYTES))
  let at = HEADER_BYTES
  for (const value of values) {
    column.writeInt32BE(value === null ? -1 : FLOAT8_BYTES, at)
    at += LENGTH_BYTES
    if (value !== null) at = column.writeDoubleBE(value, at)
  }
  return column.subarray(0, at)
}

function begin(oid: number, count: number, bytes: number): Buffer {
  const column = Buffer.allocUnsafe(bytes)
  // One dimension, with nulls, from 1 on; an empty array has none.
  column.writeInt32BE(count === 0 ? 0 : 1, 0)
  column.writeInt32BE(1, 4)
  column.writeInt32BE(oid, 8)
  column.writeInt32BE(count, 12)
  column.writeInt32BE(1, 16)
  return count === 0 ? column.subarray(0, 12) : column
}
