const EXTENSIONS: Readonly<Record<string, string>> = {
  'image/jpeg': '.jpg',
  'image/heic': '.heic',
  'image/heif': '.heif',
  'image/avif': '.avif',
  'image/png': '.png',
  'image/gif': '.gif',
  'image/webp': '.webp',
  'image/tiff': '.tif',
  'image/x-adobe-dng': '.dng',
  'video/quicktime': '.mov',
  'video/mp4': '.mp4',
  'video/x-m4v': '.m4v',
}

/** The usual extension of a media type with its dot, for an original that comes without a name; empty if there is none. */
export function extensionOf(mediaType: string): string {
  return EXTENSIONS[mediaType] ?? ''
}
