import { resolve, sep } from 'node:path'
import { AppError } from '../../../src/errors.ts'
import { monthFolder, parseLibraryPath, pathIn, splitPath } from '../../../src/format/layout.ts'
import { nameKey, numberedName, safeName } from '../../../src/format/names.ts'
import { nameOnPhone, stemOnPhone, wholeName } from '../../../src/upload/phone-path.ts'
import { check, type Target } from '../target.ts'

const ROOT = `${sep}library`
const FOLDER = monthFolder(2024, 7)
const MONTH = resolve(ROOT, FOLDER)
const FORBIDDEN = /[/\\:*?"<>|\p{Cc}\p{Cs}\u2028\u2029]/u
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(?:\.|$)/i

/**
 * Names and paths from phones, and paths from journals. A name for the drive is a name on every drive, within its
 * folder, and stays what it is; a path that is taken stays within the library. Behind a zero byte the input is UTF-16,
 * which can hold halves of characters.
 */
export const names: Target = {
  name: 'names',
  seeds: [
    ...[
      'IMG_0001.HEIC',
      'file:///var/mobile/DCIM/100APPLE/IMG_0001.HEIC#YnBsaXN0',
      'a/../b.jpg',
      '..',
      'CON .txt',
      '照片 1.JPG',
    ],
    ...[
      '.jpg',
      '2024/07/IMG.JPG',
      '../../etc/passwd',
      '.iclood/library.json',
      'e\u0301.jpg',
      'x. . .',
      '👨‍👩‍👧‍👦'.repeat(20),
    ],
    ...['a%2f..%2fb.jpg', 'SHA256SUMS', `${'é'.repeat(130)}.jpg`, 'lpt¹.tar.gz', `a.${'b'.repeat(40)}`],
  ]
    .map((text) => Buffer.from(text))
    .concat(Buffer.concat([Buffer.of(0), Buffer.from('x\ud800.jpg\udc00', 'utf16le')])),
  tokens: [
    ...[
      '.',
      '..',
      '/',
      '\\',
      ':',
      '*',
      '?',
      '"',
      '<',
      '|',
      '\0',
      '\n',
      ' ',
      '~',
      '%',
      '%2f',
      '%00',
      '#',
      'file:///',
      '$',
    ],
    ...['CON', 'nul', 'Lpt1', 'COM¹', 'aux', '.iclood', 'SHA256SUMS', '.HEIC', '.jpg', ' (2)', '.tar.gz', '2024/07/'],
    ...[
      '\u0301',
      'é',
      '👨‍👩‍👧‍👦',
      'ß',
      'ﬁ',
      'İ',
      '\u200d',
      '\ufeff',
      '가',
      '\u202e',
      '\u2028',
      '\u0085',
      '\uffff',
      '\u{e0001}',
      'ſ',
      '\u00a0',
    ],
  ],
  inTests: 3000,
  run(input) {
    const text = input[0] === 0 ? input.toString('utf16le', 1) : input.toString()
    const whole = wholeName(nameOnPhone(text) || text, 'photo')
    for (const raw of [text, whole]) {
      const safe = safeName(raw, 'photo.jpg')
      for (const name of [safe, numberedName(safe, 2), numberedName(safe, 12_345)]) checkName(name)
    }
    checkKeys(text)
    checkPath(text)
    stemOnPhone(text)
  },
}

function checkName(name: string): void {
  check(name !== '' && Buffer.byteLength(name) <= 255, 'It is empty or too long', name)
  check(name === name.normalize('NFC'), 'It changes when it is normalized', name)
  check(!FORBIDDEN.test(name), 'It has what a drive refuses', name)
  check(!name.startsWith('.') && !/[. ]$/.test(name), 'It begins in a dot, or ends in one or a space', name)
  check(!DEVICE.test(name), 'Windows takes it for a device', name)
  check(safeName(name, 'x') === name, 'Made safe again it is another', [name, safeName(name, 'x')])
  const path = pathIn(FOLDER, name)
  check(resolve(ROOT, path) === `${MONTH}${sep}${name}`, 'It leaves its folder', name)
  check(parseLibraryPath(path) === path && splitPath(path).name === name, 'Its path is read as another', path)
}

function checkKeys(text: string): void {
  const key = nameKey(text)
  for (const other of [text.normalize('NFC'), text.normalize('NFD'), text.toLowerCase(), text.toUpperCase()]) {
    check(nameKey(other) === key, 'Its key changes with case or form', [text, other])
  }
}

function checkPath(text: string): void {
  try {
    parseLibraryPath(text)
  } catch (error) {
    if (error instanceof AppError) return
    throw error
  }
  const place = resolve(ROOT, text)
  const isInside = place.startsWith(`${ROOT}${sep}`) && place !== `${ROOT}${sep}.iclood`
  check(isInside && !place.startsWith(`${ROOT}${sep}.iclood${sep}`), 'It leads out of the library', text)
}
