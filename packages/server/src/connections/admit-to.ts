import type { Access } from '../access/access.ts'
import { isWithoutCredentials } from '../access/grants.ts'
import { RunError } from '../endpoints/verdict.ts'
import type { Identity } from '../identity/principal.ts'
import type { Hub } from '../topics/hub.ts'
import type { LiveTopic } from '../topics/live-topic.ts'
import { ValueTopic } from '../topics/value-topic.ts'

/** Under what the server loads public topics. */
export interface Service {
  readonly headers: Readonly<Record<string, string>>
  /** The network address of its runs; `null`: that of a client for whom it loads. */
  readonly ip: string | null
}

/**
 * Lets a client in to a topic, or not (R14). A first load that the client's own credentials, or nobody's, make proves access by itself:
 * then the endpoint runs once, not twice.
 *
 * @throws CrossfadeError of the refusal.
 */
export async function admitTo(
  topic: LiveTopic,
  identity: Identity,
  { access, hub, service }: { readonly access: Access; readonly hub: Hub; readonly service: Service },
): Promise<void> {
  const { address } = topic
  if (hub.isUnshared(address)) {
    const detail = `The topic "${address.name}" is not shared any more. Read its endpoint.`
    throw new RunError({ kind: 'refused', status: 0, detail })
  }
  const isPublic = address.definition.audience === 'public'
  const loadProves = !isPublic || isWithoutCredentials(address, service.headers)
  if (topic instanceof ValueTopic && loadProves && address.definition.authorize === null) await topic.ready(identity)
  await access.check(address, identity)
}
