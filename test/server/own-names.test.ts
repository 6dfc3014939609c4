import { hostname } from 'node:os'
import { expect, it } from 'vitest'
import { ownNames, searchedIn } from '../../src/server/own-names.ts'

it.each([
  ['search flat.example.org lan\nnameserver 192.168.1.1\n', ['flat.example.org', 'lan']],
  ['nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch fritz.box', ['fritz.box']],
  ['domain flat.example.org\r\n', ['flat.example.org']],
  ['# search evil.com\n;search evil.com\nsearching evil.com\n', []],
  ['', []],
])('%j searches %j', (text, domains) => {
  expect(searchedIn(text)).toEqual(domains)
})

it('this machine has a name', () => {
  expect(ownNames()).toMatchObject({ machine: hostname(), searched: expect.any(Array) })
})
