import type { Access } from '../access/access.ts'
import type { Identity } from '../identity/principal.ts'
import type { LiveTopic } from '../topics/live-topic.ts'
import { ValueTopic } from '../topics/value-topic.ts'

/**
 * Lets a client in to a topic, or not (R14). A first load under the client's own credentials proves access by itself: then the
 * endpoint runs once, not twice.
 *
 * @throws CrossfadeError of the refusal.
 */
export async function admitTo(
  topic: LiveTopic,
  identity: Identity,
  { access, service }: { readonly access: Access; readonly service: Identity },
): Promise<void> {
  const { address } = topic
  const ownLoad = address.definition.audience !== 'public' || identity.key === service.key
  if (topic instanceof ValueTopic && ownLoad && address.definition.authorize === null) await topic.ready(identity)
  await access.check(address, identity)
}
