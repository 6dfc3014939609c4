import { describe, expect, it } from 'vitest'
import { extensionOf, kindOf, mediaTypeByName, mediaTypeOf } from '../../src/media/media-type.ts'
import { SNIFF_LENGTH, sniff } from '../../src/media/sniff.ts'
import { avif, box, dng, heic, jpeg, mov, mp4, png, riffChunk, tiff, webp } from '../support/media.ts'

const text = (content: string) => Buffer.from(content, 'latin1')
const brands = (major: string, ...compatible: string[]) =>
  box('ftyp', text(major), Buffer.alloc(4), ...compatible.map((brand) => text(brand)))

describe('the media type by the bytes', () => {
  it.each<[string, Buffer, string | undefined]>([
    ['JPEG', jpeg(), 'image/jpeg'],
    ['PNG', png(), 'image/png'],
    ['WebP', webp(), 'image/webp'],
    ['TIFF, big-endian', tiff(), 'image/tiff'],
    ['TIFF, little-endian', tiff({ littleEndian: true }), 'image/tiff'],
    ['DNG, which only its tags tell from a TIFF', dng(), 'image/tiff'],
    ['HEIC', heic(), 'image/heic'],
    ['HEIC of ten bits', brands('heix', 'mif1'), 'image/heic'],
    ['HEIF', brands('mif1', 'mif1', 'heic'), 'image/heif'],
    ['AVIF', avif(), 'image/avif'],
    ['AVIF under the brand of all HEIF', brands('mif1', 'avif', 'miaf'), 'image/avif'],
    ['a sequence of HEVC pictures', brands('hevc', 'msf1'), 'image/heic-sequence'],
    ['CR3', brands('crx ', 'isom'), 'image/x-canon-cr3'],
    ['CR2', text('II*\0\x10\0\0\0CR\x02\0'), 'image/x-canon-cr2'],
    ['GIF', text('GIF89a'), 'image/gif'],
    ['BMP', Buffer.concat([text('BM'), Buffer.alloc(12), Buffer.of(40), Buffer.alloc(20)]), 'image/bmp'],
    ['QuickTime', mov(), 'video/quicktime'],
    ['QuickTime without ftyp', mov({ brands: [] }), 'video/quicktime'],
    ['MP4', mp4(), 'video/mp4'],
    ['M4V', brands('M4V ', 'isom'), 'video/x-m4v'],
    ['M4A', brands('M4A ', 'isom'), 'audio/mp4'],
    ['3GP', brands('3gp4', 'isom'), 'video/3gpp'],
    ['an unknown brand that is QuickTime', brands('LCAG', 'qt  '), 'video/quicktime'],
    ['an unknown brand', brands('toString', 'isom'), 'video/mp4'],
    ['AVI', riffChunk('RIFF', text('AVI LIST')), 'video/x-msvideo'],
    ['Matroska', text('\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1fB\x82\x88matroska'), 'video/x-matroska'],
    ['WebM', text('\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1fB\x82\x84webm'), 'video/webm'],
    ['BigTIFF', text('II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0'), 'image/tiff'],
    ['BigTIFF, big-endian', text('MM\0+\0\x08\0\0'), 'image/tiff'],
    ['ORF', text('IIRO\x08\0\0\0'), 'image/x-olympus-orf'],
    ['RW2', text('IIU\0\x18\0\0\0'), 'image/x-panasonic-rw2'],
    ['CRW', text('II\x1a\0\0\0HEAPCCDR'), 'image/x-canon-crw'],
    ['DV', text('\x1f\x07\0\x3f'), 'video/x-dv'],
    ['WMV', text('\x30\x26\xb2\x75\x8e\x66\xcf\x11'), 'video/x-ms-wmv'],
    ['MPEG', text('\0\0\x01\xba\x44'), 'video/mpeg'],
    ['a transport stream', Buffer.alloc(1000, text(`G\x40\0\x10${'\0'.repeat(184)}`)), 'video/mp2t'],
    [
      'a transport stream of a camcorder',
      Buffer.alloc(1000, text(`\0\0\0\0G\x40\0\x10${'\0'.repeat(184)}`)),
      'video/mp2t',
    ],
    ['a text of that letter', Buffer.alloc(1000, 'GGG\n'), undefined],
    ['JPEG behind rubbish', Buffer.concat([Buffer.alloc(100), jpeg()]), 'image/jpeg'],
    ['music with a picture in it', Buffer.concat([text('ID3\x04APIC'), jpeg()]), undefined],
    ['a document with a picture in it', Buffer.concat([text('%PDF-1.7'), jpeg()]), undefined],
    ['WAV', riffChunk('RIFF', text('WAVEfmt ')), undefined],
    ['a text', text('BMW or Mercedes, that is the question here'), undefined],
    ['a text with a BMP header by chance', text(`BM, ${' '.repeat(10)}(\0\0\0${' '.repeat(20)}`), undefined],
    ['nothing', Buffer.alloc(0), undefined],
  ])('%s', (_, file, mediaType) => {
    expect(sniff(file.subarray(0, SNIFF_LENGTH))?.mediaType).toBe(mediaType)
  })
})

describe('the media type by the name', () => {
  it.each([
    ['IMG_0001.HEIC', 'image/heic'],
    ['IMG_0001.JPG', 'image/jpeg'],
    ['IMG_0001.MOV', 'video/quicktime'],
    ['IMG_O0001.AAE', 'application/vnd.apple.photos'],
    ['照片 1.jpeg', 'image/jpeg'],
    ['DSC_1.NEF', 'image/x-nikon-nef'],
    ['archive.tar.dng', 'image/x-adobe-dng'],
  ])('%s is %s', (name, mediaType) => {
    expect(mediaTypeByName(name)).toBe(mediaType)
  })

  it.each(['IMG_0001', '', '.', 'a.', 'a.b/c', 'a.constructor', 'a.__proto__', 'photo.jpg.exe'])(
    '%j tells none',
    (name) => {
      expect(mediaTypeByName(name)).toBeUndefined()
    },
  )
})

describe('the extension for a media type', () => {
  it.each([
    ['image/jpeg', '.jpg'],
    ['image/heic', '.heic'],
    ['image/tiff', '.tif'],
    ['video/quicktime', '.mov'],
    ['video/mp4', '.mp4'],
    ['application/octet-stream', ''],
    ['', ''],
  ])('%j is %j', (mediaType, extension) => {
    expect(extensionOf(mediaType)).toBe(extension)
  })
})

describe('the media type', () => {
  it('is what the bytes say, whatever the name says', () => {
    expect(mediaTypeOf('image/heic', 'IMG_0001.JPG')).toBe('image/heic')
    expect(mediaTypeOf('image/tiff', 'scan.jpg')).toBe('image/tiff')
  })

  it('is what the name says where the bytes tell nothing', () => {
    expect(mediaTypeOf(undefined, 'IMG_0001.AAE')).toBe('application/vnd.apple.photos')
    expect(mediaTypeOf(undefined, 'IMG_0001')).toBeUndefined()
  })

  it('is that of the raw format where the bytes only say TIFF', () => {
    expect(mediaTypeOf('image/tiff', 'DSC_1.NEF')).toBe('image/x-nikon-nef')
  })

  it('tells photos from videos, and neither from the rest', () => {
    expect(['image/heic', 'video/mp4', 'audio/mp4', undefined].map(kindOf)).toEqual([
      'photo',
      'video',
      undefined,
      undefined,
    ])
  })
})
