import { avif, dng, heic, jpeg, mov, mp4, png, tiff, webp } from '../support/media.ts'
import { FORMS } from './forms.ts'

const EXIF = { date: '2024:07:01 19:30:05', offset: '+02:00' }
const MOVIE = { creationDate: '2024-07-01T19:30:05+0200', mvhd: new Date('2024-07-01T17:30:05Z') }

/** A file of each kind that is inspected, taken at the same time. */
export const MADE: readonly [string, Buffer][] = [
  ['JPEG', jpeg(EXIF)],
  ['HEIC', heic(EXIF)],
  ['HEIC in pieces', heic({ ...EXIF, exifAtEnd: true, extents: 5, ilocVersion: 2, tiles: 20 })],
  ['HEIC with idat', heic({ ...EXIF, exifInIdat: true })],
  ['AVIF', avif(EXIF)],
  ['PNG', png(EXIF)],
  ['PNG with EXIF at its end', png({ ...EXIF, exifAtEnd: true, size: 100_000 })],
  ['WebP', webp(EXIF)],
  ['TIFF', tiff({ ...EXIF, littleEndian: true })],
  ['DNG', dng(EXIF)],
  ['MOV', mov({ ...MOVIE, moovAtEnd: true, sampleTable: 500 })],
  ['MOV without ftyp', mov({ ...MOVIE, brands: [] })],
  ['MP4', mp4({ ...MOVIE, mvhdVersion: 1 })],
]

/** Of the forms in which dates are written, one of each sort: all of them are many. */
export const SORTS: readonly (readonly [string, Buffer])[] = [
  'EXIF with CreateDate with its own offset in a JPEG',
  'EXIF with the satellites’ time in a WebP',
  'XMP with exif:DateTimeOriginal as an attribute in a JPEG',
  'XMP with a value with qualifiers in a HEIC',
  'XMP with exif:DateTimeOriginal in an MP4',
  'XMP with photoshop:DateCreated in a TIFF',
  'IPTC with a date and a time in a JPEG',
  'IPTC with a date and a time as numbers in a TIFF',
  'a JPEG with rubbish before it',
  'a JPEG with zeros between its segments',
  'a JPEG with EXIF in two segments',
  'a JPEG with XMP in UTF-16',
  'a JPEG with extended XMP',
  'a JPEG with IPTC behind other resources',
  'a PNG with a text "Creation Time"',
  'a PNG with a profile of EXIF',
  'a PNG with compressed XMP',
  'a PNG with EXIF behind the image and before another megabyte',
  'a movie with ©day in its user data',
  'a movie with ©day in its list of items',
  'a movie with XMP in its user data',
  'a movie with a header of zeros and a dated track',
].map((name) => [name, FORMS.find((form) => form.name === name)?.file ?? Buffer.alloc(0)])
