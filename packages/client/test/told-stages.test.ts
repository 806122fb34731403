import type { EndpointHeader, Stage, StageMessage } from '@crossfade/protocol'
import { describe, expect, it } from 'vitest'
import { ToldStages } from '../src/told-stages.ts'

const validMs = 60_000

function message(stage: Stage, stages?: string): StageMessage {
  const told: StageMessage = { type: 'stage', feature: 'f', stage, percent: 100, rest: 'off', spread: 0 }
  return stages === undefined ? told : { ...told, stages }
}

function header(stage: Stage, feature: string | null = 'f'): EndpointHeader {
  const rollout = { stage, percent: 100, rest: 'off' as const }
  return { topic: 't', cursor: 'c', base: '/', ...rollout, ...(feature === null ? {} : { feature }) }
}

function told(...messages: StageMessage[]): ToldStages {
  const stages = new ToldStages(validMs)
  for (const one of messages) stages.take(one, 1_000)
  return stages
}

describe('what was told of stages (R61)', () => {
  it('counts before an answer that was asked for earlier', () => {
    const stages = told(message('off'))
    expect(stages.apply(header('push'), 1_000, false).stage).toBe('off')
    expect(stages.apply(header('push'), 1_001, false).stage).toBe('push')
  })

  it('counts for a while on a connection that lives: the answer may come from a cache', () => {
    const stages = told(message('off'))
    expect(stages.apply(header('push'), 1_000 + validMs, true).stage).toBe('off')
    expect(stages.apply(header('push'), 1_001 + validMs, true).stage).toBe('push')
  })

  it('is of one feature', () => {
    const stages = told(message('off'))
    expect(stages.apply(header('push', 'g'), 0, true).stage).toBe('push')
    expect(stages.apply(header('push', null), 0, true).stage).toBe('push')
  })

  it('is given back when all was told, and no longer when a part is known from elsewhere', () => {
    expect(told().heard).toBe('')
    expect(told(message('push'), message('push', 'a')).heard).toBe('a')
    // Cut in the middle, or a change of one feature.
    expect(told(message('push', 'a'), message('hint')).heard).toBe('')
    const stages = told(message('push', 'a'))
    stages.apply(header('push'), 2_000, false)
    expect(stages.heard).toBe('a')
    stages.apply(header('hint'), 500, false)
    expect(stages.heard).toBe('a')
    stages.apply(header('hint'), 2_000, false)
    expect(stages.heard).toBe('')
  })
})
