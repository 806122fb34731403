import { describe, expect, test } from 'vitest'
import {
  clientErrorCodes,
  closeCodes,
  closeRule,
  CrossfadeError,
  httpStatusOf,
  setupErrorCodes,
  wireErrorCodes,
} from '@crossfade/protocol'

describe('error codes', () => {
  test('have one meaning each', () => {
    const all = [...wireErrorCodes, ...setupErrorCodes, ...clientErrorCodes]
    expect(new Set(all).size).toBe(all.length)
    expect(all.filter((code) => !/^[a-z]+(?:_[a-z]+)*$/.test(code))).toEqual([])
  })

  test('have the HTTP status of the contract', () => {
    expect(httpStatusOf('invalid_topic')).toBe(400)
    expect(httpStatusOf('unsupported_version')).toBe(400)
    expect(httpStatusOf('unauthenticated')).toBe(401)
    expect(httpStatusOf('forbidden_origin')).toBe(403)
    expect(httpStatusOf('unknown_topic')).toBe(404)
    expect(httpStatusOf('id_reused')).toBe(409)
    expect(httpStatusOf('too_large')).toBe(413)
    expect(httpStatusOf('too_fast')).toBe(429)
    expect(httpStatusOf('server_error')).toBe(500)
    expect(httpStatusOf('overloaded')).toBe(503)
  })

  test('blame the server where a code says nothing of the request', () => {
    expect(setupErrorCodes.map(httpStatusOf).filter((status) => status < 500)).toEqual([])
  })

  test('come with an error that names itself and keeps its cause', () => {
    const cause = new Error('deeper')
    const error = new CrossfadeError('malformed', 'What came was odd.', { cause })
    expect(error).toBeInstanceOf(Error)
    expect(String(error)).toBe('CrossfadeError: What came was odd.')
    expect(error.code).toBe('malformed')
    expect(error.cause).toBe(cause)
  })
})

describe('close codes', () => {
  test.each([
    [1001, 'goingAway', 'after'],
    [1003, 'invalidData', 'no'],
    [1009, 'tooLarge', 'no'],
    [4400, 'malformed', 'no'],
    [4401, 'unauthenticated', 'refresh'],
    [4403, 'forbidden', 'no'],
    [4408, 'timeout', 'yes'],
    [4413, 'tooSlow', 'yes'],
    [4414, 'tooMany', 'after'],
    [4429, 'tooManyConnections', 'after'],
    [4440, 'expired', 'refresh'],
    [4500, 'serverError', 'yes'],
    [4503, 'overloaded', 'after'],
  ])('tells of %i that it is %s, retried: %s (R26)', (code, name, retry) => {
    expect(closeRule(code)).toEqual({ name, retry })
    expect(Object.values(closeCodes)).toContain(code)
  })

  test.each([1000, 1005, 1006, 1011, 4999, Number.NaN])('retries %d, which no server of ours sends', (code) => {
    expect(closeRule(code)).toEqual({ name: 'unknown', retry: 'yes' })
  })
})
