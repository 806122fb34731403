import type { ServerResponse } from 'node:http'

/** The unfinished answers under `{base}`: a client that does not read its answer, or does not finish its request, must not delay a shutdown. */
export class OpenAnswers {
  readonly #answers = new Set<ServerResponse>()

  add(answer: ServerResponse): void {
    this.#answers.add(answer)
    answer.once('close', () => this.#answers.delete(answer))
  }

  get size(): number {
    return this.#answers.size
  }

  destroyAll(): void {
    for (const answer of this.#answers) answer.destroy()
  }
}
