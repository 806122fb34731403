import { describe, expect, it } from 'vitest'
import { judge, type History } from '../src/history/judge.ts'

function rules(ids: number[], versions: number[] = [1, 2, 3]): string[] {
  const history: History = {
    values: [{ client: 'c', topic: 'v', versions }],
    logs: [{ client: 'c', topic: 'l', ids }],
    finalVersions: new Map([['v', 3]]),
    committed: new Map([['l', [1, 2, 4, 3, 5]]]),
  }
  return judge(history).map((violation) => violation.rule)
}

describe('the judge of histories', () => {
  it('accepts commit order from wherever a client began', () => {
    expect(rules([1, 2, 4, 3, 5])).toEqual([])
    expect(rules([4, 3, 5], [1, 3])).toEqual([])
  })

  it('finds what is lost, repeated, out of order or never committed', () => {
    expect(rules([1, 2, 3, 5])).toEqual(['lost'])
    expect(rules([1, 2, 4, 3])).toEqual(['lost'])
    expect(rules([1, 2, 4, 4, 3, 5])).toEqual(['repeated'])
    expect(rules([1, 2, 3, 4, 5])).toEqual(['order'])
    expect(rules([1, 2, 4, 3, 5, 9])).toEqual(['phantom'])
    expect(rules([])).toEqual(['lost'])
  })

  it('finds a version that goes back, is shown twice, or is not the last', () => {
    const whole = [1, 2, 4, 3, 5]
    expect(rules(whole, [1, 3, 2, 3])).toEqual(['order'])
    expect(rules(whole, [1, 3, 3])).toEqual(['repeated'])
    expect(rules(whole, [1, 2])).toEqual(['last value'])
    expect(rules(whole, [])).toEqual(['last value'])
  })
})
