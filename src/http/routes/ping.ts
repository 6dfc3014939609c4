import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { success } from '../schemas.ts'

/** `GET /ping`: answers whenever the process lives, whatever has become of the drive and the database. */
export const pingRoutes: FastifyPluginAsyncTypebox = async (app) => {
  app.get(
    '/ping',
    { schema: { summary: 'Is the server there?', response: { 200: success({ message: Type.String() }) } } },
    async () => ({ status: 'success' as const, message: 'iClood server is online' }),
  )
}
