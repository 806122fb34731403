/** What one client saw of one value topic: the version of each value it showed, in the order it showed them. */
export interface ValueHistory {
  readonly client: string
  readonly topic: string
  readonly versions: readonly number[]
}

/** What one client saw of one log topic, since its last announced reset or from its first reading. */
export interface LogHistory {
  readonly client: string
  readonly topic: string
  /** The ids in the order in which they were shown. */
  readonly ids: readonly number[]
}

/** All that a run recorded. */
export interface History {
  readonly values: readonly ValueHistory[]
  readonly logs: readonly LogHistory[]
  /** The version that the database holds in the end, by topic. */
  readonly finalVersions: ReadonlyMap<string, number>
  /** The ids that were committed, by topic, in commit order. */
  readonly committed: ReadonlyMap<string, readonly number[]>
}

/** One broken promise. */
export interface Violation {
  readonly rule: 'order' | 'lost' | 'repeated' | 'last value' | 'phantom'
  readonly client: string
  readonly topic: string
  readonly detail: string
}

/**
 * Judges a run: order never broken, nothing repeated, nothing missing between first and last (log topics), the last value equal to the
 * database's (value topics).
 *
 * @returns every violation; an empty list means that the promises were kept.
 */
export function judge(history: History): Violation[] {
  return [
    ...history.values.flatMap((seen) => judgeValue(seen, history.finalVersions.get(seen.topic))),
    ...history.logs.flatMap((seen) => judgeLog(seen, history.committed.get(seen.topic) ?? [])),
  ]
}

function judgeValue({ client, topic, versions }: ValueHistory, final: number | undefined): Violation[] {
  const violations: Violation[] = []
  for (const [i, version] of versions.entries()) {
    const before = versions[i - 1]
    if (before === undefined || version > before) continue
    const rule = version === before ? 'repeated' : 'order'
    violations.push({ rule, client, topic, detail: `version ${version} was shown after ${before} (index ${i})` })
  }
  const last = versions.at(-1)
  if (last !== final)
    violations.push({ rule: 'last value', client, topic, detail: `shows version ${last}, the database holds ${final}` })
  return violations
}

function judgeLog({ client, topic, ids }: LogHistory, committed: readonly number[]): Violation[] {
  const indexes = new Map(committed.map((id, index) => [id, index]))
  const violations: Violation[] = []
  const seen = new Set<number>()
  let newest = -1
  for (const [i, id] of ids.entries()) {
    const index = indexes.get(id)
    if (index === undefined) violations.push({ rule: 'phantom', client, topic, detail: `${id} was never committed` })
    else if (seen.has(id)) violations.push({ rule: 'repeated', client, topic, detail: `${id} came again (index ${i})` })
    else if (index < newest)
      violations.push({
        rule: 'order',
        client,
        topic,
        detail: `${id} came after ${committed[newest]}, which was committed later`,
      })
    if (index !== undefined) newest = Math.max(newest, index)
    seen.add(id)
  }
  const first = indexes.get(ids[0] ?? Number.NaN)
  const missing = committed.slice(first ?? 0).filter((id) => !seen.has(id))
  if (missing.length > 0)
    violations.push({ rule: 'lost', client, topic, detail: `${missing.length} missing, the first is ${missing[0]}` })
  return violations
}
