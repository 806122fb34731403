import type { EndpointHeader, Stage, StageMessage } from '@crossfade/protocol'
import { describe, expect, it } from 'vitest'
import { KnownRollouts } from '../src/known-rollouts.ts'

function message(stage: Stage, version: number, feature: string = 'f'): StageMessage {
  return { type: 'stage', feature, stage, percent: 100, rest: 'off', version, spread: 0 }
}

function header(stage: Stage, version?: number, feature?: string): EndpointHeader {
  const rollout = { stage, percent: 100, rest: 'off' as const }
  const versions = version === undefined ? {} : { version }
  return { topic: 't', cursor: 'c', base: '/', ...rollout, ...versions, ...(feature === undefined ? {} : { feature }) }
}

describe('what is known of rollouts (R61)', () => {
  it('is the greatest version, whether push told it or a header', () => {
    const rollouts = new KnownRollouts()
    expect(rollouts.newest(header('push', 3, 'f'))).toMatchObject({ stage: 'push', version: 3 })
    expect(rollouts.hear(message('off', 5))).toBe(true)
    // Asked for before the change, or from a cache.
    expect(rollouts.newest(header('push', 3, 'f'))).toMatchObject({ stage: 'off', version: 5 })
    expect(rollouts.newest(header('hint', 6, 'f'))).toMatchObject({ stage: 'hint', version: 6 })
    expect(rollouts.hear(message('off', 5))).toBe(false)
    expect(rollouts.newest(header('push', 3, 'f'))).toMatchObject({ stage: 'hint', version: 6 })
  })

  it('of two with one version is the last', () => {
    const rollouts = new KnownRollouts()
    rollouts.hear(message('off', 5))
    expect(rollouts.newest(header('push', 5, 'f')).stage).toBe('push')
  })

  it('is of one feature, and says nothing of a header without a version', () => {
    const rollouts = new KnownRollouts()
    rollouts.hear(message('off', 5))
    expect(rollouts.newest(header('push', 1, 'g')).stage).toBe('push')
    expect(rollouts.newest(header('push', undefined, 'f')).stage).toBe('push')
    expect(rollouts.newest(header('push', 1)).stage).toBe('push')
  })

  it('is asked for from the greatest version that push has told', () => {
    const rollouts = new KnownRollouts()
    expect(rollouts.heard).toBe(0)
    rollouts.newest(header('push', 9, 'f'))
    expect(rollouts.heard).toBe(0)
    rollouts.hear(message('hint', 4, 'g'))
    rollouts.hear(message('hint', 7))
    rollouts.hear(message('off', 5, 'g'))
    expect(rollouts.heard).toBe(7)
  })
})
