import type { FastifyReply } from 'fastify'

/** What changes otherwise than by a request, such as by a command, is noticed after this time. */
const LASTING_MS = 1_000

interface Answer {
  readonly basis: string | undefined
  readonly at: number
  readonly text: Promise<string>
}

/**
 * Answers to questions that the app asks many times a second, as JSON. Each is made anew when something else was
 * begun since (`forget`), when it would rest on something else, and once a second; requests in between share it. What
 * fails is not remembered.
 */
export class Remembered {
  readonly #answers = new Map<string, Answer>()

  /** Something may have changed: no answer counts any more that was begun before. */
  forget(): void {
    this.#answers.clear()
  }

  /**
   * `question` is one of few: each keeps an answer in memory. `basis` is what the asker has found out anew and the
   * answer says, which must be cheaper than the answer.
   */
  answer(question: string, make: () => Promise<unknown>, basis?: string): Promise<string> {
    const known = this.#answers.get(question)
    if (known?.basis === basis && known !== undefined && performance.now() - known.at < LASTING_MS) return known.text
    const text = make().then((answer) => JSON.stringify(answer))
    const answer = { basis, at: performance.now(), text }
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
