import { expect, it } from 'vitest'
import { strangeNames } from '../../src/format/strange-names.ts'
import { fc } from '../support/property.ts'

const anyName = fc.constantFrom('a.jpg', 'b.jpg', 'é.jpg', 'e\u0301.jpg', 'å.jpg', 'a\u030a.jpg', 'A.jpg')
const anyNames = fc.uniqueArray(anyName)

it('names that the catalogue has as they are written are no strangers, and all others in its absence are', () => {
  fc.assert(
    fc.property(anyNames, anyNames, (listed, known) => {
      const strange = strangeNames(listed, known)
      for (const name of strange) expect(known).not.toContain(name)
      expect(strangeNames(listed, [])).toEqual(listed)
      expect(strangeNames(listed, listed)).toEqual([])
      // A file system that keeps names as they are given shows all that the catalogue has.
      const all = [...new Set([...listed, ...known])]
      expect(strangeNames(all, known)).toEqual(all.filter((name) => !known.includes(name)))
    }),
  )
})

it('a file system that lists names in another Unicode form makes no strangers', () => {
  fc.assert(
    fc.property(fc.uniqueArray(anyName, { selector: (name) => name.normalize('NFC') }), (known) => {
      const listed = known.map((name) => name.normalize('NFD'))
      expect(strangeNames(listed, known)).toEqual([])
      expect(strangeNames([...listed, 'other.jpg'], known)).toEqual(['other.jpg'])
    }),
  )
})

it('two files whose names differ in form alone are two, where the catalogue knows one of them', () => {
  expect(strangeNames(['é.jpg', 'e\u0301.jpg'], ['é.jpg'])).toEqual(['e\u0301.jpg'])
  expect(strangeNames(['e\u0301.jpg'], ['é.jpg'])).toEqual([])
})
