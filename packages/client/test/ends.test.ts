import { closeCodes, closeRule } from '@crossfade/protocol'
import { describe, expect, it } from 'vitest'
import { endOf } from '../src/transports/ends.ts'

const ends = {
  no: { reason: 'refused', retryMs: null },
  refresh: { reason: 'auth' },
  yes: { reason: 'closed', retryMs: 700 },
  after: { reason: 'closed', retryMs: 700 },
}

describe('the end of a connection', () => {
  it.each(Object.entries(closeCodes))(
    'means what the table of close codes says (%s %d, PROTOCOL §6)',
    (_name, code) => {
      expect(endOf({ code, retry: 700 })).toEqual(ends[closeRule(code).retry])
    },
  )

  it('is for good when the server says so', () => {
    expect(endOf({ code: 1001, retry: null })).toEqual(ends.no)
  })
})
