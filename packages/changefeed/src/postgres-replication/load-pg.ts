import { CrossfadeError } from '@crossfade/protocol'

type Pg = typeof import('pg')

/**
 * Loads the PostgreSQL client, an optional peer.
 *
 * @throws CrossfadeError `invalid_options` when it is not installed.
 */
export async function loadPg(): Promise<Pg> {
  try {
    const module = await import('pg')
    return module.default as unknown as Pg
  } catch (error) {
    throw new CrossfadeError(
      'invalid_options',
      'The feed postgres-replication needs the package pg. Run npm install pg.',
      { cause: error },
    )
  }
}
