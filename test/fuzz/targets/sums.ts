import { formatSum } from '../../../src/format/sums-format.ts'
import { parseSums } from '../../support/sums.ts'
import { check, checkSame, type Target } from '../target.ts'

const A = '0f'.repeat(32)
const B = 'a1'.repeat(32)

/**
 * Texts of SHA256SUMS. None makes the reader throw; what is read is written and read again the same; and only a text
 * that is what we, or sha256sum, would write is called clean.
 */
export const sums: Target = {
  name: 'sums',
  seeds: [
    `${A}  IMG_1.HEIC\n${B}  IMG_1.MOV\n`,
    `${A.toUpperCase()} *a b.jpg\n\\${B}  back\\\\slash\\n.jpg\n`,
    `${A}  torn.jp`,
    `${A}  a.jpg\n${B}  a.jpg\n\n`,
    `\\${A}  a\\tb\n`,
  ].map((text) => Buffer.from(text)),
  tokens: [
    `${A}  `,
    `\\${B} *`,
    '  ',
    ' *',
    '\\',
    '\\\\',
    '\\n',
    '\\r',
    '\n',
    '\r\n',
    '\0',
    '/',
    '../',
    'é',
    '\ufeff',
    'x.jpg',
  ],
  inTests: 8000,
  run(input) {
    const text = input.toString()
    const { sums, isClean } = parseSums(text)
    const written = [...sums].map(([name, sum]) => formatSum(name, sum)).join('')
    for (const [name, sum] of sums) {
      check(name !== '' && !name.includes('\0'), 'A name is none', name)
      check(/^[0-9a-f]{64}$/.test(sum), 'A checksum is none', sum)
    }
    checkSame([...parseSums(written).sums], [...sums], 'Read again it is another')
    check(parseSums(written).isClean, 'What is written is not clean')
    if (isClean) checkSame(plain(text), plain(written), 'It is called clean')
    else check(text !== written, 'What we write is called unclean')
  },
}

/** The lines in one spelling: what others write differently and may. */
function plain(text: string): string[] {
  return text.split('\n').map((line) => {
    const [, mark, sum = '', name = ''] = /^(\\?)([0-9a-fA-F]{64}) [ *](.*)$/s.exec(line) ?? [line]
    if (sum === '') return line
    const escaped = mark === '' ? name.replaceAll('\\', '\\\\') : name
    return `${sum.toLowerCase()}  ${escaped.replaceAll('\r', '\\r')}`
  })
}
