import type { Access } from '../access/access.ts'
import { isWithoutCredentials } from '../access/grants.ts'
import { RunError } from '../endpoints/verdict.ts'
import type { Identity } from '../identity/principal.ts'
import type { Hub } from '../topics/hub.ts'
import type { LiveTopic } from '../topics/live-topic.ts'
import { ValueTopic } from '../topics/value-topic.ts'

/** The headers and address with which the server loads public topics. */
export interface Service {
  readonly headers: Readonly<Record<string, string>>
  /** The network address of its runs; `null`: the address of a client that it loads for. */
  readonly ip: string | null
}

/**
 * Admits a client to a topic, or refuses it (R14). A first load with the client's own credentials, or with none, proves access by itself:
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
    const detail = `The topic "${address.name}" is no longer shared. Read its endpoint.`
    throw new RunError({ kind: 'refused', status: 0, detail })
  }
  const isPublic = address.definition.audience === 'public'
  const loadProves = !isPublic || isWithoutCredentials(address, service.headers)
  if (topic instanceof ValueTopic && loadProves && address.definition.authorize === null) await topic.ready(identity)
  await access.check(address, identity)
}
