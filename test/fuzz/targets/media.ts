import { checkHarmless } from '../../media/harmless.ts'
import { MADE, SORTS } from '../../media/originals.ts'
import { Random } from '../random.ts'
import type { Target } from '../target.ts'

/** Others take too long to copy. */
const MAX_SEED_BYTES = 16 * 1024

/**
 * Photos and videos: none costs more than a bounded number of short reads, and none yields a date that is not in it.
 */
export const media: Target = {
  name: 'media',
  seeds: [...MADE, ...SORTS].map(([, file]) => file).filter((file) => file.length <= MAX_SEED_BYTES),
  tokens: [
    ...['ftyp', 'moov', 'mvhd', 'trak', 'tkhd', 'mdia', 'mdhd', 'udta', 'meta', 'keys', 'ilst', 'iinf', 'infe', 'iloc'],
    ...[
      'iref',
      'idat',
      'Exif',
      'mime',
      'uuid',
      'free',
      'wide',
      'data',
      'heic',
      'avif',
      'qt  ',
      'cdsc',
      '\xa9day',
      'XMP_',
    ],
    ...['Exif\0\0', 'II*\0', 'MM\0*', 'http://ns.adobe.com/xap/1.0/\0', 'http://ns.adobe.com/xmp/extension/\0'],
    ...[
      'Photoshop 3.0\0',
      '8BIM',
      'eXIf',
      'tEXt',
      'zTXt',
      'iTXt',
      'IDAT',
      'IEND',
      'RIFF',
      'WEBP',
      'EXIF',
      'XMP ',
      'VP8X',
    ],
    ...[
      '<exif:DateTimeOriginal>',
      'xmlns:exif="http://ns.adobe.com/exif/1.0/"',
      '<?xpacket',
      '&#x32;',
      '<![CDATA[',
      '<!--',
    ],
    ...['2024:07:01 19:30:05', '2024-07-01T19:30:05+0200', '0000:00:00 00:00:00', '9999:12:31 24:00:00', '-14:00'],
    Buffer.from('ffd8ffe1', 'hex'),
    Buffer.from('ffd9ffda', 'hex'),
    Buffer.from('0132000200000014', 'hex'),
    Buffer.from('9003000200000014', 'hex'),
    Buffer.from('8769000400000001', 'hex'),
    Buffer.from('0390020014000000', 'hex'),
    Buffer.from('0000000100000001', 'hex'),
  ],
  inTests: 3000,
  run(file) {
    const random = new Random(file.toString('latin1'))
    // What it claims to have is the client's word; and one that begins anew where it ends is a long one that costs nothing.
    const size = random.one([file.length, file.length, file.length * 3, 2 ** 40])
    return checkHarmless(file, size, { isEndless: file.length > 0 && size > file.length && random.under(4) === 0 })
  },
}
