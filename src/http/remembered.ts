import type { FastifyReply } from 'fastify'

/** What others than this server change (a command, a program that fills the drive) is noticed after this time. */
const LASTING_MS = 1_000

interface Answer {
  readonly version: number
  readonly at: number
  readonly text: Promise<string>
}

/**
 * Answers to questions that the app asks many times a second, as JSON. Each is made anew when `version` has grown since the one that is there was
 * begun, and once a second; requests in between share it. What fails is not remembered.
 */
export class Remembered {
  readonly #version: () => number
  readonly #answers = new Map<string, Answer>()

  constructor(version: () => number) {
    this.#version = version
  }

  /** `question` is one of few: each keeps an answer in memory. */
  answer(question: string, make: () => Promise<unknown>): Promise<string> {
    const version = this.#version()
    const known = this.#answers.get(question)
    if (known !== undefined && known.version === version && performance.now() - known.at < LASTING_MS) return known.text
    const text = make().then((answer) => JSON.stringify(answer))
    const answer = { version, at: performance.now(), text }
    this.#answers.set(question, answer)
    text.catch(() => {
      if (this.#answers.get(question) === answer) this.#answers.delete(question)
    })
    return text
  }
}

/** Sends an answer that is JSON already, in the shape of its schema. */
export function sendJson(reply: FastifyReply, text: string): never {
  return reply.type('application/json; charset=utf-8').send(text) as never
}
