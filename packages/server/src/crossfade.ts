import { assertTopic, CrossfadeError, formatCursor } from '@crossfade/protocol'
import { eventText } from './json-text.ts'
import type { RolloutStore } from './rollout/rollout.ts'
import type { RpcHandler, RpcRegistry, RpcValidator } from './rpc/rpc-registry.ts'
import type { Access } from './access/access.ts'
import { standaloneLogDefinition, type StandaloneLogOptions } from './endpoints/definition.ts'
import type { Hub } from './topics/hub.ts'
import type { TopicRegistry } from './endpoints/registry.ts'
import { ValueTopic } from './topics/value-topic.ts'

/** Options of {@link Crossfade.publish}. */
export interface PublishOptions {
  /** Id of the item, by which clients recognise what a REST answer already gave them. */
  key?: string
  /** An id that is repeated within two minutes publishes nothing: safe to retry after an unknown outcome. */
  idempotencyKey?: string
}

/** What `app.crossfade` offers to the application. */
export interface Crossfade {
  /** Stages of features. */
  readonly rollout: RolloutStore
  /**
   * Declares a log topic that no endpoint lists, such as `prices/:symbol`.
   *
   * @throws CrossfadeError `invalid_options` without `authorize` or `public: true`; `route_conflict` when the pattern is taken.
   */
  log(pattern: string, options: StandaloneLogOptions): void
  /**
   * Appends an event to a log topic.
   *
   * @returns its cursor, or `null` when the idempotency key was used already.
   * @throws CrossfadeError `unknown_topic`, `invalid_topic`, `too_large`
   */
  publish(topic: string, event: string, data: unknown, options?: PublishOptions): Promise<string | null>
  /** Makes the value topics with this name load again: something changed that no rule covers. */
  invalidate(topic: string): void
  /** Registers a method that clients call over any transport (R34). `validate` throws on an invalid body. */
  rpc(method: string, options: { validate?: RpcValidator }, handler: RpcHandler): void
  /**
   * Authorizes all subscriptions of a principal again, immediately. They get nothing until the endpoint has answered. Resolves when all have
   * been checked, or after a second.
   */
  revoke(principalId: string): Promise<void>
}

/** The parts that {@link Crossfade} acts on. */
export interface CrossfadeParts {
  readonly hub: Hub
  readonly registry: TopicRegistry
  readonly rollout: RolloutStore
  readonly rpc: RpcRegistry
  readonly access: Access
  readonly maxEventBytes: number
  /** Called before something is published that clients should hear of. */
  readonly saying: (method: 'publish' | 'invalidate') => void
}

/** Creates the decorator. */
export function crossfadeOf(parts: CrossfadeParts): Crossfade {
  const { hub, registry, rollout, rpc, access } = parts
  return {
    rollout,
    log(pattern, options) {
      const definition = standaloneLogDefinition(pattern, options)
      registry.add(definition)
      rollout.declare(definition.feature)
    },
    async publish(topic, event, data, options = {}) {
      const resolved = registry.resolve(assertTopic(topic))
      if (resolved?.definition.kind !== 'log') {
        throw new CrossfadeError(
          'unknown_topic',
          `"${topic}" is not a log topic. Declare it by config.crossfade.log or by app.crossfade.log().`,
        )
      }
      const text = eventText(topic, data, parts.maxEventBytes)
      parts.saying('publish')
      const appended = await hub.broker.append(topic, { kind: 'event', event, data: text, at: Date.now(), ...options })
      return appended === null ? null : formatCursor(appended.epoch, appended.offset)
    },
    invalidate(topic) {
      const resolved = registry.resolve(assertTopic(topic))
      if (resolved === null) return
      parts.saying('invalidate')
      for (const live of hub.matching(resolved.definition, resolved.params))
        if (live instanceof ValueTopic) live.invalidate()
    },
    rpc(method, options, handler) {
      rpc.register(method, options.validate ?? (() => {}), handler)
    },
    revoke: (principalId) => access.revoke(principalId),
  }
}
