/*
 * Long lists as parameters of a statement: arrays in PostgreSQL's binary format (array_send), in which nothing has to
 * be quoted here or read there. node-postgres sends a `Buffer` as it is.
 */

const HEADER_BYTES = 20
const LENGTH_BYTES = 4
const FLOAT8_BYTES = 8
const TEXT_OID = 25
const FLOAT8_OID = 701

/** What `of` says of each item, as a `text[]`. */
export function textColumn<Item>(items: readonly Item[], of: (item: Item) => string | null): Buffer {
  let bytes = HEADER_BYTES
  for (const item of items) bytes += LENGTH_BYTES + Buffer.byteLength(of(item) ?? '')
  const column = begin(TEXT_OID, items.length, bytes)
  let at = HEADER_BYTES
  for (const item of items) {
    const value = of(item)
    const written = value === null ? 0 : column.write(value, at + LENGTH_BYTES)
    column.writeInt32BE(value === null ? -1 : written, at)
    at += LENGTH_BYTES + written
  }
  return column
}

/** What `of` says of each item, as a `float8[]`. */
export function numberColumn<Item>(items: readonly Item[], of: (item: Item) => number | null): Buffer {
  const column = begin(FLOAT8_OID, items.length, HEADER_BYTES + items.length * (LENGTH_BYTES + FLOAT8_BYTES))
  let at = HEADER_BYTES
  for (const item of items) {
    const value = of(item)
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
