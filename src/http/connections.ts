import type { Socket } from 'node:net'
import { CONNECTIONS } from '../budgets.ts'
import { AppError } from '../errors.ts'
import { refuseConnection } from './error-handler.ts'
import { type Holding, Shares } from './shares.ts'

/** Refused connections that are being told so; the next ones are closed without a word. */
export const MAX_LEAVING = 64

interface Open {
  address: string
  holding: Holding
}

/** Lets connections in, as many as each address may have. */
export class Connections {
  readonly #shares = new Shares(CONNECTIONS)
  readonly #isProxy: (address: string) => boolean
  readonly #isAtWork: (socket: Socket) => boolean
  /** The oldest first. */
  readonly #open = new Map<Socket, Open>()
  #leaving = 0

  /** A proxy's connections, by `isProxy`, are everybody's: only all together are bounded. */
  constructor(isProxy: (address: string) => boolean, isAtWork: (socket: Socket) => boolean) {
    this.#isProxy = isProxy
    this.#isAtWork = isAtWork
  }

  /** Whether requests on that connection are to be looked at. */
  has(socket: Socket): boolean {
    return this.#open.has(socket)
  }

  /** A new connection: keeps it, or says why not and hangs up. */
  readonly take = (socket: Socket): void => {
    const address = socket.remoteAddress ?? ''
    const holding = this.#shares.open(this.#isProxy(address) ? undefined : address)
    if (!holding.take(1) && !(this.#makeRoom(address) && holding.take(1))) {
      this.#refuse(socket)
      return
    }
    this.#open.set(socket, { address, holding })
    socket.once('close', () => this.#forget(socket))
  }

  #forget(socket: Socket): void {
    this.#open.get(socket)?.holding.release()
    this.#open.delete(socket)
  }

  /**
   * Closes a connection of the address that has most of them, the oldest on which nothing is asked or answered. Returns
   * false if `address` has as many itself: the room would not be for it.
   */
  #makeRoom(address: string): boolean {
    if (this.#open.size < CONNECTIONS.all) return false
    const counts = new Map<string, number>()
    for (const open of this.#open.values()) counts.set(open.address, (counts.get(open.address) ?? 0) + 1)
    const [greediest, most] = [...counts].reduce((one, other) => (other[1] > one[1] ? other : one))
    if (most <= (counts.get(address) ?? 0) + 1) return false
    for (const [socket, open] of this.#open) {
      if (open.address !== greediest || this.#isAtWork(socket)) continue
      this.#forget(socket)
      socket.destroy()
      return true
    }
    return false
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
