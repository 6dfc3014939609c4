import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { expect, it } from 'vitest'

/** A room is a folder of `src`, or a loose file there. */
interface Room {
  name: string
  mayImport: string[]
}

const ROOT = join(import.meta.dirname, '..')
const SRC = join(ROOT, 'src')
const CONTRIBUTING = readFileSync(join(ROOT, 'CONTRIBUTING.md'), 'utf8')
const LINES = 0.18
const LOOSE = 3
/** What every room may import. */
const GROUND = ['errors.ts', 'base']

const rooms: Room[] = [...chapter('The rooms of `src`').matchAll(/^\| `([^`]+)` \| [^|]+ \|([^|]*)\|$/gm)].map(
  ([, name = '', names = '']) => ({ name, mayImport: [...names.matchAll(/`([^`]+)`/g)].map(([, one = '']) => one) }),
)
const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) => /\.[jt]s$/.test(name))
const sources = new Map(files.map((file) => [file, readFileSync(join(SRC, file), 'utf8')]))

function chapter(title: string): string {
  const [, text = ''] = CONTRIBUTING.split(`### ${title}\n`)
  return text.split(/^##/m, 1)[0] ?? ''
}

function roomOf(file: string): string {
  const folder = dirname(file)
  return folder === '.' ? file : folder
}

function isWithin(room: string, other: string): boolean {
  return room === other || room.startsWith(`${other}/`)
}

/** Every import between two rooms neither of which lies in the other, as `room`, `imported room`, `file -> file`. */
function importsBetween(): [room: string, imported: string, how: string][] {
  return [...sources].flatMap(([file, source]) =>
    [...source.matchAll(/(?:\bfrom|\bimport|\bimport\(|new URL\()\s*'(\.[^']+)'/g)].flatMap(([, path = '']) => {
      const target = normalize(join(dirname(file), path))
      const [room, imported] = [roomOf(file), roomOf(target)]
      const isOne = isWithin(room, imported) || isWithin(imported, room)
      return isOne || target.startsWith('..')
        ? []
        : [[room, imported, `${file} -> ${target}`] as [string, string, string]]
    }),
  )
}

it('each room is in the table of CONTRIBUTING.md, which names no other', () => {
  expect(rooms.map(({ name }) => name).sort()).toEqual([...new Set(files.map(roomOf))].sort())
})

it('rooms import what the table allows, and nothing is allowed that is not needed', () => {
  const allowed = new Map(rooms.map(({ name, mayImport }) => [name, new Set(mayImport)]))
  const found = importsBetween().filter(([, imported]) => !GROUND.includes(imported))
  expect(found.filter(([room, imported]) => !allowed.get(room)?.has(imported)).map(([, , how]) => how)).toEqual([])
  const needed = new Set(found.map(([room, imported]) => `${room} -> ${imported}`))
  const pairs = rooms.flatMap(({ name, mayImport }) => mayImport.map((imported) => `${name} -> ${imported}`))
  expect(pairs.filter((pair) => !needed.has(pair))).toEqual([])
})

it('imports go down the table only, so that rooms make no circle', () => {
  const order = rooms.map(({ name }) => name)
  const climbing = importsBetween().filter(([room, imported]) => order.indexOf(imported) < order.indexOf(room))
  expect(climbing.map(([, , how]) => how)).toEqual([])
})

it('files of one room make no circle, either', () => {
  const imports = new Map(
    [...sources].map(([file, source]) => [
      file,
      [...source.matchAll(/\bfrom '(\.[^']+)'/g)].map(([, path = '']) => normalize(join(dirname(file), path))),
    ]),
  )
  const done = new Set<string>()
  const follow = (file: string, way: readonly string[]): string[] => {
    if (way.includes(file)) return [[...way.slice(way.indexOf(file)), file].join(' -> ')]
    if (done.has(file)) return []
    const circles = (imports.get(file) ?? []).flatMap((next) => follow(next, [...way, file]))
    done.add(file)
    return circles
  }
  expect(files.flatMap((file) => follow(file, []))).toEqual([])
})

it('no room is the house: 18 % of the lines at most, and few loose files', () => {
  const linesOf = (source: string) => source.split('\n').length - 1
  const total = [...sources.values()].reduce((sum, source) => sum + linesOf(source), 0)
  for (const { name } of rooms) {
    const own = [...sources].filter(([file]) => isWithin(roomOf(file), name))
    const lines = own.reduce((sum, [, source]) => sum + linesOf(source), 0)
    expect(lines / total, name).toBeLessThan(LINES)
  }
  expect(files.filter((file) => dirname(file) === '.').length).toBeLessThanOrEqual(LOOSE)
})

it('each folder says at the head of one file, in three lines, what it is', () => {
  for (const { name } of rooms.filter((room) => !room.name.endsWith('.ts'))) {
    const prefaces = [...sources].flatMap(([file, source]) =>
      roomOf(file) === name && source.startsWith(`/*\n * ${name}/: `) ? [source.split('*/', 1)[0] ?? ''] : [],
    )
    expect(prefaces.length, name).toBe(1)
    expect(prefaces[0]?.split('\n').length, name).toBeLessThanOrEqual(5)
  }
})

it('tests lie in folders named after a room or after a method that CONTRIBUTING.md explains', () => {
  const methods = [...chapter('The folders of `test`').matchAll(/^\| `test\/([^`]+)` \|/gm)].map(([, name]) => name)
  const folders = readdirSync(join(ROOT, 'test'), { withFileTypes: true }).filter((entry) => entry.isDirectory())
  const names = new Set([...rooms.map(({ name }) => name), ...methods])
  expect(folders.map(({ name }) => name).filter((name) => !names.has(name))).toEqual([])
  expect(methods.filter((name) => !folders.some((folder) => folder.name === name))).toEqual([])
})

it('no line of a comment is longer than 120 columns', () => {
  const long = [...sources].flatMap(([file, source]) =>
    source.split('\n').flatMap((line, index) => {
      return /^\s*(\*|\/\/|\/\*)/.test(line) && [...line].length > 120 ? [`${file}:${index + 1}`] : []
    }),
  )
  expect(long).toEqual([])
})
