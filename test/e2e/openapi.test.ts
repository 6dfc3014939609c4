import { chromium } from 'playwright-core'
import { Compile } from 'typebox/schema'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jpeg } from '../support/media.ts'
import { command, needs } from '../support/needs.ts'
import { type Answer, get, post, upload } from '../support/phone.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'

let server: TestServer

beforeAll(async () => {
  server = await startServer(await makeFolder())
})

afterAll(async () => {
  await server.stop()
  await removeFolder(server.folder)
})

interface Operation {
  summary: string
  parameters?: { name: string; in: string; description?: string; schema: object }[]
  requestBody?: { required: boolean; content: Record<string, { schema: object }> }
  responses: Record<
    string,
    { description: string; content?: Record<string, { schema: { properties: object; required?: string[] } }> }
  >
}

async function operations(): Promise<Map<string, Operation>> {
  const { body } = await get(server.url, '/openapi.json')
  return new Map(
    Object.entries(body.paths as Record<string, Record<string, Operation>>).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => [`${method.toUpperCase()} ${path}`, operation] as const),
    ),
  )
}

const ENDPOINTS = [
  'GET /backup/history',
  'GET /backup/log',
  'GET /docs',
  'GET /library/health',
  'GET /metrics',
  'GET /openapi.json',
  'GET /photos/ignored',
  'GET /ping',
  'GET /storage/status',
  'GET /storage/usage',
  'POST /devices/forget',
  'POST /library/findings/accept',
  'POST /photos/ignore',
  'POST /photos/new',
  'POST /photos/unignore',
  'POST /photos/upload',
  'POST /photos/verdict',
]

describe('/openapi.json', () => {
  it('is an OpenAPI 3.1 document with every endpoint and no other', async () => {
    const { body, headers } = await get(server.url, '/openapi.json')
    expect(headers.get('content-type')).toMatch(/^application\/json/)
    expect(body.openapi).toMatch(/^3\.1\.\d+$/)
    expect(body.info).toMatchObject({
      title: expect.stringMatching(/./),
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
    })
    expect([...(await operations()).keys()].sort()).toEqual(ENDPOINTS)
  })

  it('has in every operation what the specification asks for', async () => {
    for (const [name, operation] of await operations()) {
      expect(operation.summary, name).toMatch(/./)
      for (const parameter of operation.parameters ?? []) {
        expect(parameter, name).toMatchObject({ name: expect.any(String), in: 'query', schema: expect.any(Object) })
        Compile(parameter.schema)
      }
      const bodies = operation.requestBody === undefined ? [] : Object.entries(operation.requestBody.content)
      if (operation.requestBody !== undefined) expect(bodies.length, name).toBeGreaterThan(0)
      const statuses = Object.entries(operation.responses)
      expect(statuses.length, name).toBeGreaterThan(0)
      for (const [status, response] of statuses) {
        expect(status, name).toMatch(/^([1-5](\d\d|XX)|default)$/)
        expect(response.description, name).toEqual(expect.any(String))
      }
      for (const [type, { schema }] of [
        ...bodies,
        ...statuses.flatMap(([, { content }]) => Object.entries(content ?? {})),
      ]) {
        expect(type, name).toMatch(/^[\w-]+\/[\w-]+$/)
        // OpenAPI 3.1 is JSON Schema: what only 3.0 had is not in it.
        expect(JSON.stringify(schema), name).not.toMatch(/"nullable"|"example":/)
        Compile(schema)
      }
    }
  })

  it('describes the answers as they are, field by field', async () => {
    const documented = await operations()
    const sha256 = { sha256: '0'.repeat(64) }
    const file = { path: 'file:///DCIM/1.JPG', id: '1', extra: [1] }
    const wide = {
      path: 'file:///DCIM/2.JPG',
      name: '2',
      size: 0,
      type: 'photo',
      created: 1.5,
      modified: null,
      sha256: null,
    }
    const list = { device_id: 'phone', files: [file, wide] }
    const bytes = jpeg({ date: '2024:07:01 12:00:00' })
    const form = { name: '1.JPG', fields: { original_path: file.path, device_id: 'phone' } }
    const answers: [string, string, Answer][] = [
      ['POST /photos/new', '200', await post(server.url, '/photos/new', list)],
      ['POST /photos/new', '4XX', await post(server.url, '/photos/new', '{')],
      [
        'POST /photos/upload',
        '4XX',
        await upload(server.url, bytes, { ...form, fields: { ...form.fields, ...sha256 } }),
      ],
      ['GET /backup/log', '200', await get(server.url, '/backup/log')],
      ['POST /photos/upload', '201', await upload(server.url, bytes, form)],
      ['POST /photos/upload', '200', await upload(server.url, bytes, form)],
      ['POST /photos/ignore', '200', await post(server.url, '/photos/ignore', list)],
      ['POST /photos/new', '200', await post(server.url, '/photos/new', list)],
      ['GET /photos/ignored', '200', await get(server.url, '/photos/ignored?device_id=phone')],
      ['POST /photos/unignore', '200', await post(server.url, '/photos/unignore', list)],
      ['GET /backup/log', '200', await get(server.url, '/backup/log?status=Pending')],
      ['GET /backup/log', '200', await get(server.url, '/backup/log?limit=10&after=0')],
      ['GET /backup/log', '4XX', await get(server.url, '/backup/log?limit=x')],
      ['GET /backup/history', '200', await get(server.url, '/backup/history')],
      ['GET /storage/status', '200', await get(server.url, '/storage/status')],
      ['GET /storage/usage', '200', await get(server.url, '/storage/usage')],
      ['GET /ping', '200', await get(server.url, '/ping')],
      ['GET /library/health', '200', await get(server.url, '/library/health')],
      ['POST /photos/verdict', '200', await post(server.url, '/photos/verdict', list)],
      ['POST /photos/verdict', '4XX', await post(server.url, '/photos/verdict', '{')],
    ]
    for (const [name, status, answer] of answers) {
      const what = `${name} ${status}: ${JSON.stringify(answer.body).slice(0, 300)}`
      expect(status === '4XX' ? `${Math.floor(answer.status / 100)}XX` : String(answer.status), what).toBe(status)
      const schema = documented.get(name)?.responses[status]?.content?.['application/json']?.schema
      expect(schema && Compile(schema).Check(answer.body), what).toBe(true)
      expect(Object.keys(answer.body).sort(), what).toEqual((schema?.required ?? []).toSorted())
      expect(Object.keys(schema?.properties ?? {}), what).toEqual(expect.arrayContaining(Object.keys(answer.body)))
    }
  })

  it('describes what the requests may hold', async () => {
    const documented = await operations()
    const names = (name: string) => documented.get(name)?.parameters?.map((parameter) => parameter.name)
    expect(names('GET /backup/log')).toEqual(['limit', 'offset', 'device_id', 'status', 'before', 'after'])
    expect(names('GET /photos/ignored')).toEqual(['device_id'])
    const form = documented.get('POST /photos/upload')?.requestBody?.content['multipart/form-data']?.schema
    expect(form).toMatchObject({ required: ['file'] })
    expect(Object.keys((form as { properties: object }).properties)).toEqual([
      'file',
      'original_path',
      'file_type',
      'device_id',
      'asset_id',
      'created',
      'sha256',
    ])
    const list = Compile(documented.get('POST /photos/new')?.requestBody?.content['application/json']?.schema ?? {})
    expect(list.Check({ files: [{ path: 'x', anything: {} }], more: 1 })).toBe(true)
    expect(list.Check({ files: [{}] })).toBe(false)
  })
})

describe('/docs', () => {
  it('is a page', async () => {
    const response = await fetch(`${server.url}/docs`)
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8')
    const html = await response.text()
    for (const endpoint of ENDPOINTS) expect(html).toContain(`<code>${endpoint}</code>`)
  })

  it(
    'can be read in a browser, which finds nothing to complain about',
    needs(command('chromium', 'chromium')),
    async () => {
      const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] })
      try {
        const page = await browser.newPage({ viewport: { width: 390, height: 844 } })
        const complaints: string[] = []
        page.on('console', (message) => {
          if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
        })
        page.on('pageerror', (error) => complaints.push(String(error)))
        page.on('requestfailed', (request) => complaints.push(request.url()))
        await page.goto(`${server.url}/docs`)
        expect(await page.title()).toContain('iClood')
        expect(await page.locator('summary').count()).toBe(ENDPOINTS.length)
        const upload = page.locator('details', { hasText: 'POST /photos/upload' })
        expect(await upload.locator('pre').first().isVisible()).toBe(false)
        await upload.locator('summary').click()
        expect(await upload.locator('pre').first().isVisible()).toBe(true)
        expect(await upload.innerText()).toContain('original_path')
        // On a phone's screen nothing is cut off to the right.
        expect(await page.evaluate('document.documentElement.scrollWidth <= window.innerWidth')).toBe(true)
        await page.getByRole('link', { name: 'openapi.json' }).click()
        expect(page.url()).toBe(`${server.url}/openapi.json`)
        expect(complaints).toEqual([])
      } finally {
        await browser.close()
      }
    },
  )
})
