import { CrossfadeError } from '@crossfade/protocol'

/**
 * Where the push endpoints are: the `base` option, under the prefix of the scope in which the plugin was registered.
 *
 * @param prefix as Fastify gives it, such as `/v1` or `/shops/:shop`.
 * @throws CrossfadeError `invalid_options` for a prefix with a wildcard, an optional or a composed parameter.
 */
export function basePath(prefix: string, base: string): string {
  const path = prefix.replace(/\/$/, '') + base
  if (/^(?:\/(?:[A-Za-z0-9._~-]+|:[A-Za-z0-9_]+))+$/.test(path)) return path
  throw new CrossfadeError(
    'invalid_options',
    `The plugin is registered under the prefix "${prefix}", from which no base can be formed. Register it under plain segments and /:name parameters, or outside of the prefix.`,
  )
}

/** The base of one request: with its own values for the prefix's parameters. */
export function baseOf(base: string, params: unknown): string {
  return base.replaceAll(/:([A-Za-z0-9_]+)/g, (_, name: string) =>
    encodeURIComponent(String((params as Readonly<Record<string, unknown>>)[name])),
  )
}

/** Whether a request's URL is at the base or under it. */
export function isUnder(base: string, url: string): boolean {
  const path = url
    .replace(/^https?:\/\/[^/?#]*/i, '')
    .replace(/[?#].*$/s, '')
    .split('/')
  const segments = base.split('/')
  return segments.every((segment, i) =>
    segment.startsWith(':') ? path[i] !== undefined && path[i] !== '' : path[i] === segment,
  )
}
