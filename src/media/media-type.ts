/** What the catalogue calls a file that holds a picture or a film. */
export type MediaKind = 'photo' | 'video'

/** Of a list of edits to a photo or video, which lies beside it (AAE). */
export const EDITS = 'application/vnd.apple.photos'

// Of several extensions for one type, the first is the usual one.
const BY_EXTENSION: Readonly<Record<string, string>> = {
  aae: EDITS,
  xmp: 'application/rdf+xml',

  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  jpe: 'image/jpeg',
  heic: 'image/heic',
  heics: 'image/heic-sequence',
  heif: 'image/heif',
  hif: 'image/heif',
  avif: 'image/avif',
  png: 'image/png',
  gif: 'image/gif',
  webp: 'image/webp',
  tif: 'image/tiff',
  tiff: 'image/tiff',
  bmp: 'image/bmp',
  jxl: 'image/jxl',
  jp2: 'image/jp2',
  psd: 'image/vnd.adobe.photoshop',
  svg: 'image/svg+xml',

  dng: 'image/x-adobe-dng',
  '3fr': 'image/x-hasselblad-3fr',
  arw: 'image/x-sony-arw',
  cr2: 'image/x-canon-cr2',
  cr3: 'image/x-canon-cr3',
  crw: 'image/x-canon-crw',
  erf: 'image/x-epson-erf',
  iiq: 'image/x-phaseone-iiq',
  mrw: 'image/x-minolta-mrw',
  nef: 'image/x-nikon-nef',
  nrw: 'image/x-nikon-nrw',
  orf: 'image/x-olympus-orf',
  pef: 'image/x-pentax-pef',
  raf: 'image/x-fujifilm-raf',
  rw2: 'image/x-panasonic-rw2',
  rwl: 'image/x-leica-rwl',
  sr2: 'image/x-sony-sr2',
  srw: 'image/x-samsung-srw',
  x3f: 'image/x-sigma-x3f',

  mov: 'video/quicktime',
  qt: 'video/quicktime',
  mp4: 'video/mp4',
  m4v: 'video/x-m4v',
  '3gp': 'video/3gpp',
  '3g2': 'video/3gpp2',
  avi: 'video/x-msvideo',
  mkv: 'video/x-matroska',
  webm: 'video/webm',
  mpg: 'video/mpeg',
  mpeg: 'video/mpeg',
  mts: 'video/mp2t',
  m2ts: 'video/mp2t',
  m2t: 'video/mp2t',
  wmv: 'video/x-ms-wmv',
  asf: 'video/x-ms-wmv',
  flv: 'video/x-flv',
  dv: 'video/x-dv',

  m4a: 'audio/mp4',
  mp3: 'audio/mpeg',
  wav: 'audio/wav',
  pdf: 'application/pdf',
}

/**
 * Returns the media type that the extension of `fileName` stands for, in any case; undefined for none or an unknown
 * one.
 */
export function mediaTypeByName(fileName: string): string | undefined {
  const extension = /\.([^./\\]+)$/.exec(fileName)?.[1]?.toLowerCase()
  return extension !== undefined && Object.hasOwn(BY_EXTENSION, extension) ? BY_EXTENSION[extension] : undefined
}

/**
 * Returns the extension, such as `.heic`, to call a file of `mediaType` by that came without a name; empty for a type
 * without one.
 */
export function extensionOf(mediaType: string): string {
  const extension = Object.keys(BY_EXTENSION).find((each) => BY_EXTENSION[each] === mediaType)
  return extension === undefined ? '' : `.${extension}`
}

/**
 * Chooses between what the bytes say and what the name says: the bytes, where they do. The raw formats of most cameras
 * are TIFF files by their bytes, and only their names tell more.
 */
export function mediaTypeOf(byBytes: string | undefined, fileName: string): string | undefined {
  const byName = mediaTypeByName(fileName)
  const isRaw = byBytes === 'image/tiff' && byName !== undefined && byName.startsWith('image/x-')
  return isRaw ? byName : (byBytes ?? byName)
}

/** Returns whether a file of `mediaType` is a photo or a video; undefined for what is neither, such as sound. */
export function kindOf(mediaType: string | undefined): MediaKind | undefined {
  if (mediaType?.startsWith('image/')) return 'photo'
  return mediaType?.startsWith('video/') ? 'video' : undefined
}
