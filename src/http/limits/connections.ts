import type { Socket } from 'node:net'
import { CONNECTIONS } from '../../base/budgets.ts'
import { AppError } from '../../errors.ts'
import { refuseConnection } from '../error-handler.ts'
import { Shares } from './shares.ts'

/** Refused connections that are being told so; the next ones are closed without a word. */
export const MAX_LEAVING = 64

/** Lets connections in, as many as each address may have. */
export class Connections {
  readonly #shares = new Shares(CONNECTIONS)
  readonly #isProxy: (address: string) => boolean
  readonly #open = new WeakSet<Socket>()
  #leaving = 0

  /** A proxy's connections, by `isProxy`, are everybody's: only all together are bounded. */
  constructor(isProxy: (address: string) => boolean) {
    this.#isProxy = isProxy
  }

  /** Whether requests on that connection are to be looked at. */
  has(socket: Socket): boolean {
    return this.#open.has(socket)
  }

  /** A new connection: keeps it, or says why not and hangs up. */
  readonly take = (socket: Socket): void => {
    const address = socket.remoteAddress ?? ''
    const holding = this.#shares.open(this.#isProxy(address) ? undefined : address)
    if (!holding.take(1)) {
      this.#refuse(socket)
      return
    }
    this.#open.add(socket)
    socket.once('close', () => holding.release())
  }

  #refuse(socket: Socket): void {
    if (this.#leaving >= MAX_LEAVING) {
      socket.destroy()
      return
    }
    this.#leaving++
    socket.once('close', () => this.#leaving--)
    socket.on('error', () => socket.destroy())
    refuseConnection(
      socket,
      new AppError(
        'busy',
        `Too many connections are open: expected at most ${CONNECTIONS.each} from one address, ${CONNECTIONS.all} in all. Try again in a moment.`,
      ),
    )
  }
}
