import { CrossfadeError, defaultBase } from '@crossfade/protocol'
import { checkOptions } from './option-checks.ts'
import type { CrossfadeOptions, ResolvedOptions } from './options.ts'

/**
 * The options with defaults filled in.
 *
 * @throws CrossfadeError `invalid_options` with all that is wrong.
 */
export function resolveOptions(options: CrossfadeOptions): ResolvedOptions {
  checkOptions(options)
  const base = options.base ?? defaultBase
  if (!/^(?:\/[A-Za-z0-9._~-]+)+$/.test(base)) {
    throw new CrossfadeError(
      'invalid_options',
      `base must be a path like "/crossfade", without a slash at its end; got "${base}".`,
    )
  }
  return {
    ...options,
    base,
    feedFailure: options.feedFailure ?? 'poll',
    allowedOrigins: options.allowedOrigins ?? [],
    warmMs: options.warmMs ?? 120_000,
    loadTimeoutMs: options.loadTimeoutMs ?? 10_000,
    grantMs: options.grantMs ?? 30_000,
    reauthorizeMs: options.reauthorizeMs ?? 60_000,
    maxReauthorizations: options.maxReauthorizations ?? 8,
    expiryGraceMs: options.expiryGraceMs ?? 25_000,
    rotateMs: options.rotateMs ?? 600_000,
    diagnostics: options.diagnostics ?? process.env['NODE_ENV'] !== 'production',
  }
}
