import { isIP } from 'node:net'
import { CrossfadeError, stages } from '@crossfade/protocol'
import {
  anyFunction,
  flag,
  having,
  listOf,
  mapOf,
  number,
  oneOf,
  problemsOf,
  record,
  shown,
  text,
  type Check,
  type Checks,
} from './configuration/check.ts'
import type { CrossfadeOptions } from './options.ts'

/** `scheme://host:port` as a browser writes it (RFC 6454 §6.2), or `null`. */
const origin: Check = (value) => {
  if (value === 'null' || (typeof value === 'string' && /^[a-z][a-z0-9+.-]*:\/\/[^/?#\s*]+$/i.test(value))) return null
  return `must be an origin such as "https://app.example.com", without a path or slash at its end, got ${shown(value)}.`
}

const percent: Check = (value) =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 100
    ? null
    : `must be a whole number from 0 to 100, got ${shown(value)}.`

const rollout = record({ stage: oneOf(stages), percent, rest: oneOf(stages) }, "{ stage: 'push', percent: 5 }")

const networkAddress: Check = (value) =>
  typeof value === 'string' && isIP(value) !== 0
    ? null
    : `must be a network address such as "10.0.0.7", got ${shown(value)}.`

const time = number({ from: 'above 0', unit: 'ms' })
const timeOrNone = number({ from: '0', unit: 'ms' })

const checks: Checks<CrossfadeOptions> = {
  base: text,
  feed: having('start', 'stop'),
  feedFailure: oneOf(['poll', 'throw']),
  broker: having('open', 'append', 'read'),
  authenticate: anyFunction,
  operator: anyFunction,
  rollout: mapOf(rollout, "{ 'order-page': { stage: 'push' } }"),
  allowedOrigins: listOf(origin, "['https://app.example.com']"),
  service: record(
    { headers: mapOf(text, "{ authorization: 'Bearer …' }"), ip: networkAddress },
    "{ headers: { authorization: '…' } }",
  ),
  limits: (value) => (typeof value === 'object' && value !== null ? null : `must be an object, got ${shown(value)}.`),
  warmMs: timeOrNone,
  loadTimeoutMs: time,
  grantMs: timeOrNone,
  reauthorizeMs: time,
  maxReauthorizations: number({ from: 'above 0' }),
  expiryGraceMs: timeOrNone,
  rotateMs: time,
  diagnostics: flag,
}

/** Options that `register` itself takes for every Fastify plugin. */
const ofFastify: readonly string[] = ['prefix', 'logLevel', 'logSerializers']

/**
 * Checks the plugin's options.
 *
 * @throws CrossfadeError `invalid_options` that lists everything that is wrong.
 */
export function checkOptions(options: CrossfadeOptions): void {
  const own = Object.entries(options).filter(([name]) => !ofFastify.includes(name))
  const problems = problemsOf(Object.fromEntries(own), checks)
  if (problems.length === 0) return
  throw new CrossfadeError('invalid_options', `The options of the Crossfade plugin: ${problems.join('\n')}`)
}
