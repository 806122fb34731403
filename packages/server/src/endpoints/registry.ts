import { CrossfadeError } from '@crossfade/protocol'
import type { TopicDefinition } from './definition.ts'

/** A topic's name resolved to its definition. */
export interface ResolvedTopic {
  readonly definition: TopicDefinition
  readonly params: Readonly<Record<string, string>>
}

/** The topics that this server knows, by pattern. */
export class TopicRegistry {
  readonly #definitions: TopicDefinition[] = []

  /** @throws CrossfadeError `route_conflict` when the pattern is taken. */
  add(definition: TopicDefinition): void {
    const { text } = definition.pattern
    const same = this.#definitions.find((known) => shape(known.pattern.text) === shape(text))
    if (same) {
      throw new CrossfadeError(
        'route_conflict',
        `The topic "${text}" is declared twice (${same.url ?? 'by log()'} and ${definition.url ?? 'by log()'}). A topic has one endpoint: give one of them another name.`,
      )
    }
    this.#definitions.push(definition)
    // Fixed segments before parameters, so that "orders/late" is not read as "orders/:id".
    this.#definitions.sort((a, b) => a.pattern.params.length - b.pattern.params.length)
  }

  /** @returns `null` when no pattern matches. */
  resolve(topic: string): ResolvedTopic | null {
    for (const definition of this.#definitions) {
      const params = definition.pattern.match(topic)
      if (params !== null) return { definition, params }
    }
    return null
  }

  all(): readonly TopicDefinition[] {
    return this.#definitions
  }
}

function shape(pattern: string): string {
  return pattern.replaceAll(/:[^/]+/g, ':')
}
