import { chmod, mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { ExifTool } from '../../src/archive/exiftool.ts'
import { tiffOf } from '../media/forms.ts'
import { dateText, inspectBytes, NOW } from '../media/inspecting.ts'
import { box, exifBlock, jpeg, riffChunk, tiff, uint } from '../support/media.ts'
import { command, needs } from '../support/needs.ts'
import { makeFolder } from '../support/server.ts'
import { until } from '../support/until.ts'

const exiftool = command('exiftool', 'libimage-exiftool-perl')
const latin1 = (text: string) => Buffer.from(text, 'latin1')

let folder: string
beforeAll(async () => {
  folder = await makeFolder()
})

/** Found again among all that runs. */
const SLEEP = `sleep 1000.${process.pid}`

/** Whether a process runs that was started so. */
async function isRunning(command: string): Promise<boolean> {
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const commands = await Promise.all(ids.map((id) => readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '')))
  return commands.some((arguments_) => arguments_.split('\0').join(' ').trim() === command)
}

async function dateOf(file: Buffer, name: string, tool = new ExifTool()): Promise<string | undefined> {
  const path = join(folder, name)
  await writeFile(path, file)
  const opened = await open(path)
  try {
    return dateText(await tool.dateOf(opened.fd, NOW))
  } finally {
    await opened.close()
  }
}

const DATE = '2015:08:22 12:20:56'
const SEEN = '2015-08-22T12:20:56'
const avi = (date: string) => {
  const header = riffChunk(
    'LIST',
    Buffer.concat([latin1('hdrl'), riffChunk('avih', Buffer.alloc(56)), riffChunk('IDIT', latin1(date))]),
  )
  return riffChunk('RIFF', Buffer.concat([latin1('AVI '), header, riffChunk('LIST', latin1('movi'))]))
}
const jxl = () =>
  Buffer.concat([
    box('JXL ', Buffer.from('0d0a870a', 'hex')),
    box('ftyp', latin1('jxl \0\0\0\0jxl ')),
    box('Exif', uint(4, 0), exifBlock({ date: DATE, offset: '+02:00' })),
    box('jxlc', Buffer.from('ff0a', 'hex')),
  ])
const jp2 = () =>
  Buffer.concat([
    box('jP  ', Buffer.from('0d0a870a', 'hex')),
    box('ftyp', latin1('jp2 \0\0\0\0jp2 ')),
    box('uuid', latin1('JpgTiffExif->JP2'), exifBlock({ date: DATE })),
  ])
const raw = (magic: string) => {
  const block = tiffOf({
    little: true,
    exif: [{ tag: 0x9003, type: 2, value: latin1(`${DATE}\0`) }],
    first: [{ tag: 0x010f, type: 2, value: latin1('OLYMPUS\0') }],
  })
  return Buffer.concat([latin1(magic), block.subarray(4)])
}
/** An EBML element with a size of one byte. */
const element = (id: string, ...body: Buffer[]) => {
  const content = Buffer.concat(body)
  return Buffer.concat([Buffer.from(id, 'hex'), Buffer.of(0x80 | content.length), content])
}
const mkv = () => {
  // Nanoseconds since 2001 in UTC.
  const date = Buffer.alloc(8)
  date.writeBigInt64BE(BigInt(Date.parse('2015-08-22T10:20:56Z') - Date.UTC(2001, 0, 1)) * 1_000_000n)
  return Buffer.concat([
    element('1a45dfa3', element('4282', latin1('matroska'))),
    element('18538067', element('1549a966', element('4461', date))),
  ])
}
const bigTiff = () => {
  const entry = (tag: number, type: number, count: number, value: number) => {
    const bytes = Buffer.alloc(20)
    bytes.writeUInt16LE(tag, 0)
    bytes.writeUInt16LE(type, 2)
    bytes.writeBigUInt64LE(BigInt(count), 4)
    bytes.writeBigUInt64LE(BigInt(value), 12)
    return bytes
  }
  const directory = (entries: Buffer[]) =>
    Buffer.concat([Buffer.from('0100000000000000', 'hex'), ...entries, Buffer.alloc(8)])
  const first = directory([entry(0x8769, 13, 1, 16 + 36)])
  const exif = directory([entry(0x9003, 2, 20, 16 + 36 + 36)])
  return Buffer.concat([Buffer.from('49492b00080000001000000000000000', 'hex'), first, exif, latin1(`${DATE}\0`)])
}

describe('the date of a rare kind, by an installed ExifTool', needs(exiftool), () => {
  it.each<[string, string, Buffer, string, string]>([
    ['AVI', 'a.part', avi('Sat Aug 22 12:20:56 2015\n\0'), 'video/x-msvideo', SEEN],
    ['JPEG XL', 'b.part', jxl(), 'image/jxl', `${SEEN}+02:00`],
    ['JPEG 2000', 'c.part', jp2(), 'image/jp2', SEEN],
    ['ORF', 'd.part', raw('IIRO'), 'image/x-olympus-orf', SEEN],
    ['RW2', 'e.part', raw('IIU\0'), 'image/x-panasonic-rw2', SEEN],
    ['Matroska', 'f.part', mkv(), 'video/x-matroska', '2015-08-22T10:20:56Z'],
    ['BigTIFF', 'g.part', bigTiff(), 'image/tiff', SEEN],
  ])('%s is found', async (_, name, file, mediaType, date) => {
    expect(await inspectBytes(file)).toMatchObject({ mediaType, captured: undefined, isForeign: true })
    expect(await dateOf(file, name)).toBe(date)
  })

  it('is none where it can’t be', async () => {
    expect(await dateOf(avi('Mon Aug 22 12:20:56 2033\n\0'), 'future.part')).toBeUndefined()
    expect(await dateOf(avi('rubbish'), 'rubbish.part')).toBeUndefined()
  })

  it('is not asked for of what we read ourselves', async () => {
    for (const file of [jpeg({ noExif: true }), tiff({ noExif: true })]) {
      expect((await inspectBytes(file)).isForeign).toBe(false)
    }
  })

  it('is not changed by a configuration of the account’s', async () => {
    await writeFile(join(folder, '.ExifTool_config'), 'die "read"')
    const home = process.env['HOME']
    process.env['HOME'] = folder
    try {
      expect(await dateOf(jxl(), 'configured.part')).toBe(`${SEEN}+02:00`)
    } finally {
      process.env['HOME'] = home
    }
  })
})

describe('an ExifTool that misbehaves', () => {
  async function program(name: string, script: string): Promise<string> {
    await mkdir(join(folder, 'bin'), { recursive: true })
    const path = join(folder, 'bin', name)
    await writeFile(path, `#!/bin/sh\n${script}\n`)
    await chmod(path, 0o755)
    return path
  }
  const ANSWER = `echo '[{"DateTimeOriginal": "${DATE}"}]'`

  it('gives no date where it does not end, writes without end, or says nothing that makes sense', async () => {
    const scripts = {
      fine: ANSWER,
      complains: `${ANSWER}; exit 1`,
      hangs: `${ANSWER}; while :; do :; done`,
      'hangs-on': `${ANSWER}; ${SLEEP} & wait`,
      leaves: `${ANSWER}; ${SLEEP} &`,
      floods: `${ANSWER}; yes`,
      fails: 'exit 1',
      mumbles: 'echo mumble',
      nulls: 'echo "[null]"',
      crashes: `${ANSWER}; kill -SEGV $$`,
    }
    const dates: Record<string, string | undefined> = {}
    for (const [name, script] of Object.entries(scripts)) {
      const tool = new ExifTool(await program(name, script), name.startsWith('hangs') ? 500 : undefined)
      dates[name] = await dateOf(Buffer.alloc(1), `${name}.part`, tool)
    }
    expect(dates).toEqual({ fine: SEEN, complains: SEEN, leaves: SEEN })
    await until('what it has started ends with it', async () => !(await isRunning(SLEEP)))
  })

  it('gets neither all memory nor a file to write', async () => {
    const grows = await program('grows', `perl -e '$x = "x" x 2_000_000_000; $y = length $x' && ${ANSWER}`)
    expect(await dateOf(Buffer.alloc(1), 'grows.part', new ExifTool(grows))).toBeUndefined()
    const writes = await program('writes', `echo written > "${folder}/written" && ${ANSWER}`)
    expect(await dateOf(Buffer.alloc(1), 'writes.part', new ExifTool(writes))).toBeUndefined()
    expect(await readFile(join(folder, 'written'), 'utf8').catch(() => '')).toBe('')
  })

  it('runs one at a time, and not at all where it is missing or a name could be taken for something else', async () => {
    // A lock that only one can have.
    const alone = await program(
      'alone',
      `mkdir "${folder}/busy" || exit 1; sleep 0.05; rmdir "${folder}/busy"; ${ANSWER}`,
    )
    const tool = new ExifTool(alone)
    const dates = await Promise.all(Array.from({ length: 5 }, (_, n) => dateOf(Buffer.alloc(1), `${n}.part`, tool)))
    expect(dates).toEqual(Array(5).fill(SEEN))
    expect(await dateOf(Buffer.alloc(1), 'a.part', new ExifTool(join(folder, 'bin/none')))).toBeUndefined()
  })
})
