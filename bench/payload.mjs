import { createCipheriv } from 'node:crypto'

const BLOCK_BYTES = 1024 * 1024
/** Blocks that a sender may have handed to the socket and not yet got rid of. */
const RING = 8
const STAMP = 16

/** @typedef {'photo' | 'video'} Kind */

/**
 * Files that are made while they are sent: noise that is made once, with a few bytes of each block changed, so that no two
 * files have one content and making them costs next to nothing. Each sender needs a payload of its own.
 */
export class Payload {
  #first
  #ring

  /** @param {{ kind: Kind, size: number }} options `size` in bytes. */
  constructor({ kind, size }) {
    this.kind = kind
    this.size = size
    this.blockCount = Math.ceil(size / BLOCK_BYTES)
    this.#first = noise(Math.min(size, BLOCK_BYTES), 0)
    this.#ring = Array.from({ length: Math.min(this.blockCount - 1, RING) }, (_, n) => noise(BLOCK_BYTES, n + 1))
    const head = kind === 'photo' ? jpegHead() : movieHead(size)
    head.copy(this.#first)
    this.stampAt = head.length
  }

  /**
   * Block `position` of file number `index`: valid until eight later blocks were asked for, or the first of another file.
   * Equal numbers give equal bytes.
   */
  block(index, position) {
    if (position === 0) {
      if (this.kind === 'photo') this.#first.write(captureDate(index), DATE_AT, 'latin1')
      return stamped(this.#first, this.stampAt, index, 0)
    }
    const block = this.#ring[(position - 1) % RING]
    const rest = this.size - position * BLOCK_BYTES
    return stamped(rest < block.length ? block.subarray(0, rest) : block, 0, index, position)
  }
}

/** The name of file number `index`, as an iPhone would have it. */
export function nameOf(kind, index) {
  return `IMG_${String(index).padStart(6, '0')}.${kind === 'photo' ? 'JPG' : 'MOV'}`
}

/** How many of the blocks that `Payload` gives out stay valid. */
export const BLOCKS_IN_FLIGHT = RING

function stamped(block, at, index, position) {
  if (block.length >= at + STAMP) {
    block.writeUInt32BE(index, at)
    block.writeUInt32BE(position, at + 4)
  }
  return block
}

function noise(length, seed) {
  const key = Buffer.alloc(16, seed)
  return createCipheriv('aes-128-ctr', key, key).update(Buffer.alloc(length))
}

/** A household sends one month after the other: a hundred photos in each of six. */
function captureDate(index) {
  return `2024:0${1 + (Math.floor(index / 100) % 6)}:15 12:30:00`
}

const EXIF_DATE = '2024:01:15 12:30:00\0'
const DATE_AT = 2 + 4 + 6 + 8 + 18 + 18

/** What stands before the picture's data in a JPEG with a capture date. */
function jpegHead() {
  const entry = (tag, type, count, value) => {
    const bytes = Buffer.alloc(12)
    bytes.writeUInt16BE(tag, 0)
    bytes.writeUInt16BE(type, 2)
    bytes.writeUInt32BE(count, 4)
    bytes.writeUInt32BE(value, 8)
    return bytes
  }
  const directory = (only) => Buffer.concat([Buffer.of(0, 1), only, Buffer.alloc(4)])
  const tiff = Buffer.concat([
    Buffer.from('MM\0*\0\0\0\x08', 'latin1'),
    directory(entry(0x8769, 4, 1, 26)),
    directory(entry(0x9003, 2, EXIF_DATE.length, 44)),
    Buffer.from(EXIF_DATE, 'latin1'),
  ])
  const exif = Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), tiff])
  const length = Buffer.alloc(2)
  length.writeUInt16BE(exif.length + 2)
  return Buffer.concat([Buffer.of(0xff, 0xd8, 0xff, 0xe1), length, exif, Buffer.of(0xff, 0xda)])
}

/** What stands before the film in a QuickTime movie of `size` bytes. */
function movieHead(size) {
  const box = (type, body, length = body.length + 8) => {
    const head = Buffer.alloc(8)
    head.writeUInt32BE(length)
    head.write(type, 4, 'latin1')
    return Buffer.concat([head, body])
  }
  const header = Buffer.alloc(100)
  for (const at of [4, 8]) header.writeUInt32BE(Date.UTC(2024, 6, 1) / 1000 + 2_082_844_800, at)
  header.writeUInt32BE(600, 12)
  const before = Buffer.concat([
    box('ftyp', Buffer.from('qt  \0\0\0\0qt  ', 'latin1')),
    box('moov', box('mvhd', header)),
  ])
  const long = Buffer.alloc(8)
  long.writeBigUInt64BE(BigInt(size - before.length))
  return Buffer.concat([before, box('mdat', long, 1)])
}
