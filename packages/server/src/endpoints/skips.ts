import { skippedHeaderName } from '@crossfade/protocol'
import type { TopicDefinition } from './definition.ts'

/** Why a request or an answer of a wrapped route belongs to no topic (R10). */
export interface Skipped {
  /** For developers, in a header and in the log: short, and without any part of the answer. */
  readonly skipped: string
  /** What only the log may say, such as the message of an error. */
  readonly detail?: string
  /** The declaration is wrong, or cannot handle something that occurs: logged in production, too. */
  readonly isMistake?: true
  /** The client could not be identified: this is not an answer of the endpoint. */
  readonly isUncertain?: true
}

/** Where skipped answers are reported. */
export interface SkipLog {
  warn(message: string): void
  error(message: string): void
}

/** Reasons contain names that come from clients: at most this many are logged for one route. */
const maxToldPerRoute = 50
const maxHeaderLength = 200

/** Tells why answers are not topics: each reason once per route in the log, and in development with each answer. */
export class Skips {
  readonly #log: SkipLog
  readonly #diagnostics: boolean
  /** By route; `null`: reasons that are not the fault of a route. */
  readonly #told = new Map<TopicDefinition | null, Set<string>>()

  /** @param diagnostics whether answers carry the header, and the log also contains reasons that are not mistakes of the declaration. */
  constructor(log: SkipLog, diagnostics: boolean) {
    this.#log = log
    this.#diagnostics = diagnostics
  }

  /** The response header for a skipped answer, or `null` in production. */
  headerFor({ skipped }: Skipped): readonly [name: string, value: string] | null {
    return this.#diagnostics ? [skippedHeaderName, headerText(skipped)] : null
  }

  /** Logs the reason, the first time that it occurs on this route. */
  tell(definition: TopicDefinition, { skipped, detail, isMistake }: Skipped): void {
    const text = detail === undefined ? skipped : `${skipped}: ${detail}`
    const message = `${nameOf(definition)} answers without a Crossfade header: ${text}`
    if (isMistake === true) this.#once(definition, detail ?? skipped, () => this.#log.error(message))
    else if (this.#diagnostics) this.#once(definition, skipped, () => this.#log.warn(message))
  }

  /** Logs once that a route's declaration is wrong, although its answers are topics. */
  mistake(definition: TopicDefinition, text: string): void {
    this.#once(definition, text, () => this.#log.error(`${nameOf(definition)}: ${text}`))
  }

  /** Logs once what is wrong with `authenticate`, which is not the fault of a route. */
  unusablePrincipal(detail: string): void {
    this.#once(null, detail, () => this.#log.error(detail))
  }

  #once(definition: TopicDefinition | null, reason: string, tell: () => void): void {
    const told = this.#told.get(definition) ?? new Set<string>()
    this.#told.set(definition, told)
    if (told.has(reason) || told.size >= maxToldPerRoute) return
    told.add(reason)
    tell()
  }
}

function nameOf({ url, pattern }: TopicDefinition): string {
  return url === null ? `The log "${pattern.text}"` : `The route ${url}`
}

/** Visible ASCII only, so that no parameter's name can inject another header. */
function headerText(text: string): string {
  const safe = text.replaceAll(/[^\x20-\x7e]/g, '?')
  return safe.length > maxHeaderLength ? `${safe.slice(0, maxHeaderLength - 3)}...` : safe
}
