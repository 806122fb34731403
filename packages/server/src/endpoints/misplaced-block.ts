import { CrossfadeError } from '@crossfade/protocol'
import type { onRouteHookHandler } from 'fastify'
import { isPlainObject } from '../configuration/check.ts'
import { nearest } from '../configuration/nearest.ts'

type Route = Parameters<onRouteHookHandler>[0]

/**
 * Looks for a misplaced block, since Fastify accepts route options and `config` of any name.
 *
 * @throws CrossfadeError `invalid_options` when it is next to `config`, or under a name that resembles `crossfade`.
 */
export function requireNoOther(route: Route): void {
  const beside = blockIn(route)
  if (beside !== undefined) throw misplaced(route, beside)
  const within = blockIn(route.config ?? {})
  if (within !== undefined) throw misplaced(route, `config.${within}`)
}

function blockIn(options: object): string | undefined {
  return Object.entries(options).find(([name, value]) => isBlock(value) && nearest(name, ['crossfade']) !== null)?.[0]
}

function isBlock(value: unknown): boolean {
  return isPlainObject(value) && (typeof value['topic'] === 'string' || typeof value['log'] === 'string')
}

function misplaced({ method, url }: Route, where: string): CrossfadeError {
  return new CrossfadeError(
    'invalid_options',
    `The route ${String(method)} ${url} has its topic under ${where}, where it has no effect. Write { config: { crossfade: { … } } }.`,
  )
}
