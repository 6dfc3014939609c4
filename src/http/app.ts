/*
 * http/: The API: application, errors, schemas, answers. It translates between requests and the rooms below, once, and
 * decides nothing about photos.
 */

import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import swagger from '@fastify/swagger'
import { type FastifyBaseLogger, type FastifyInstance, fastify, LogController } from 'fastify'
import { Registry } from 'prom-client'
import { AppError } from '../errors.ts'
import { type AccessRules, corsHeaders, createAccessGuard, isPreflight } from './access/access.ts'
import { ownersStrategy } from './access/owner.ts'
import { answerBrokenRequest, answerError, type Exchange, installErrorHandler } from './error-handler.ts'
import { createHttpServer } from './http-server.ts'
import { installAdmission } from './limits/admission.ts'
import { linger } from './limits/body.ts'
import './listen.ts'
import { addProcessMetrics } from './metrics/process-metrics.ts'
import { UploadMetrics } from './metrics/upload-metrics.ts'
import { Remembered } from './remembered.ts'
import { backupRoutes } from './routes/backup.ts'
import { type Control, controlRoutes } from './routes/control.ts'
import { docsRoutes } from './routes/docs.ts'
import { healthRoutes } from './routes/health.ts'
import { metricsRoutes } from './routes/metrics.ts'
import { ignoredRoutes, listRoutes, uploadRoutes } from './routes/photos.ts'
import { pingRoutes } from './routes/ping.ts'
import { storageRoutes } from './routes/storage.ts'
import { verdictRoutes } from './routes/verdict.ts'
import type { Service } from './service.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The address of the client, the real one behind trusted proxies. */
    clientAddress: string
    /** Throws `unauthorized` for a guest of the house; see `Access`. */
    mustBeKeeper: () => void
  }
  interface FastifyContextConfig {
    /**
     * The handler itself lets a client that asked first (`Expect: 100-continue`) send its body, once it would take it.
     */
    asksForBody?: true
  }
}

const MAX_HEADERS = 100

const SECURITY_HEADERS = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'content-security-policy':
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  'cache-control': 'no-store',
}

export interface AppOptions {
  service: Service
  access: AccessRules
  maxFileSize: number | undefined
  version: string
  log: FastifyBaseLogger
  /** Whom commands ask; left out: nobody. */
  control?: Control
}

/** The HTTP server, ready to listen: access first, then the routes; errors in one shape. */
export async function createApp(options: AppOptions): Promise<FastifyInstance> {
  const { service } = options
  const exchanges = new WeakMap<Socket, Exchange>()
  const app = fastify({
    loggerInstance: options.log,
    logController: new LogController({ disableRequestLogging: true }),
    clientErrorHandler: (error, socket) => answerBrokenRequest(error, socket, exchanges.get(socket)),
    // A path that can't be decoded never reaches the hooks.
    frameworkErrors: (error, request, reply) => answerError(error, request, reply.headers(SECURITY_HEADERS)),
    // Said by the hook below, in our own words.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 1000 },
    serverFactory: (handle) => createHttpServer(handle, options.access.trustedProxies),
    ajv: { customOptions: { coerceTypes: true, removeAdditional: false, allErrors: false } },
  })
  app.server.on('request', (request, response) => {
    exchanges.set(request.socket, { request, response })
  })
  app.addConstraintStrategy(ownersStrategy(options.control?.secret))
  app.decorate('doors', [])
  app.removeAllContentTypeParsers()
  installErrorHandler(app)
  installAccess(app, options)
  installAdmission(app)
  await app.register(swagger, {
    openapi: { openapi: '3.1.0', info: { title: 'iClood', version: options.version } },
  })
  await app.register(pingRoutes)
  await app.register(listRoutes(service))
  await app.register(ignoredRoutes(service))
  await app.register(verdictRoutes(service))
  const metrics = new Registry()
  addProcessMetrics(metrics, options.version)
  const uploadMetrics = new UploadMetrics(metrics, () => service.uploads.size)
  await app.register(uploadRoutes(service, options.maxFileSize, uploadMetrics))
  const remembered = new Remembered()
  // Who has changed something sees it: what was answered before is not said again.
  app.addHook('onSend', async (request) => {
    if (request.method !== 'GET') remembered.forget()
  })
  await app.register(storageRoutes(service, remembered))
  await app.register(backupRoutes(service, remembered))
  await app.register(healthRoutes(service))
  await app.register(metricsRoutes(service, metrics))
  await app.register(docsRoutes)
  if (options.control !== undefined) await app.register(controlRoutes(options.control))
  return app
}

function refuseMalformed({ rawHeaders, headers, httpVersion }: IncomingMessage): void {
  const count = rawHeaders.length / 2
  if (count > MAX_HEADERS) {
    throw new AppError('headers_too_large', `The request has ${count} headers; expected at most ${MAX_HEADERS}.`)
  }
  if (headers.host === undefined && httpVersion === '1.1') {
    throw new AppError('invalid_request', 'The request has no Host header, which HTTP/1.1 asks for.')
  }
}

function stopping(): AppError {
  return new AppError('shutting_down', 'The server is being stopped or restarted. Try again in a moment.')
}

function installAccess(app: FastifyInstance, { access, service }: AppOptions): void {
  const guard = createAccessGuard(access)
  app.decorateRequest('clientAddress', '')
  app.decorateRequest('mustBeKeeper')
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(SECURITY_HEADERS)
    refuseMalformed(request.raw)
    if (request.routeOptions.config.isOwners) {
      if (service.isStopping) throw stopping()
      return undefined
    }
    // Answers differ by origin where origins are listed, also the refusals.
    if (access.corsOrigins.length > 0) reply.header('vary', 'Origin')
    const { clientAddress, cors, mustBeKeeper } = guard({
      remoteAddress: request.raw.socket.remoteAddress,
      localAddress: request.raw.socket.localAddress,
      headers: request.headers,
      rawHeaders: request.raw.rawHeaders,
      method: request.method,
      path: request.url,
    })
    request.clientAddress = clientAddress
    request.mustBeKeeper = mustBeKeeper
    if (cors !== undefined) {
      const preflight = isPreflight(request.method, request.headers)
      reply.headers(corsHeaders(cors.origin, preflight ? 'preflight' : 'simple'))
      if (preflight) return reply.code(204).send()
    }
    if (service.isStopping) throw stopping()
    const { asksForBody } = request.routeOptions.config
    if (request.headers.expect !== undefined && asksForBody !== true) reply.raw.writeContinue()
    return undefined
  })
  app.addHook('onSend', async (_request, reply) => {
    // A connection kept alive would keep the stopping server alive.
    if (service.isStopping) reply.header('connection', 'close')
  })
  app.addHook('onResponse', async (request) => linger(request.raw))
}
