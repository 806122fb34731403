import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeSse, SseParser, type SseEvent } from '@crossfade/protocol'
import { codeOf } from './code-of.ts'

/** What a parser makes of a stream that comes in these pieces. */
function read(...chunks: string[]): SseEvent[] {
  const events: SseEvent[] = []
  const parser = new SseParser((event) => events.push(event))
  for (const chunk of chunks) parser.push(chunk)
  return events
}

const message = (data: string, id?: string): SseEvent => ({ data, event: 'message', id })

describe('an encoded event', () => {
  test('has its data, and its id in front (R13)', () => {
    expect(encodeSse('{"type":"hello"}')).toBe('data: {"type":"hello"}\n\n')
    expect(encodeSse('x', { id: 'k3v9q2m1x8ab_000000000041' })).toBe('id: k3v9q2m1x8ab_000000000041\ndata: x\n\n')
    expect(encodeSse('x', { retry: 1500 })).toBe('retry: 1500\ndata: x\n\n')
    expect(read(encodeSse('x', { id: '1', retry: 1500 }))).toEqual([{ ...message('x', '1'), retry: 1500 }])
  })

  test('comes back as it went, its line ends as line feeds (R13)', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.option(fc.string({ unit: 'binary', minLength: 1 }), { nil: undefined }),
        (data, id) => {
          const known = id === undefined ? undefined : id.replaceAll(/[\r\n\0]/g, '')
          expect(read(encodeSse(data, id === undefined ? {} : { id }))).toEqual([
            message(data.replaceAll(/\r\n|\r/g, '\n'), known),
          ])
        },
      ),
    )
  })

  test.each(['\n\ndata: evil', '\r\rdata: evil', '\r\n\r\ndata: evil', '\nevent: evil', '\nid: evil', '\nretry: 1'])(
    'cannot begin another with %j in data or id (R13)',
    (attack) => {
      const events = read(encodeSse(`x${attack}`, { id: `1${attack}` }), encodeSse('next'))
      expect(events).toHaveLength(2)
      expect(events.map(({ event }) => event)).toEqual(['message', 'message'])
      expect(events[0]).not.toHaveProperty('retry')
      expect(events[1]).toEqual(message('next', events[0]?.id))
      expect(events[0]?.id?.startsWith('1')).toBe(true)
    },
  )
})

describe('a stream', () => {
  test('is read as the standard says', () => {
    const stream =
      '\uFEFF: comment\nretry: 50\nevent: add\ndata: one\ndata:two\ndata:  three\nid: 7\n\ndata\n\ndata: last\nid\nnonsense: x\n\n'
    expect(read(stream)).toEqual([
      { data: 'one\ntwo\n three', event: 'add', id: '7', retry: 50 },
      { data: '', event: 'message', id: '7' },
      { data: 'last', event: 'message', id: '' },
    ])
  })

  test('gives nothing without data, and nothing that is not ended', () => {
    expect(read('event: x\nid: 1\n\n', ': ping\n\n', 'data: half\n')).toEqual([])
    expect(read('id: 1\n\ndata: x\n\n')).toEqual([message('x', '1')])
  })

  test('ignores an id with NUL and a retry that is no number', () => {
    expect(read('id: a\nretry: 1s\ndata: x\nid: b\0\n\n')).toEqual([message('x', 'a')])
  })

  test('drops a byte order mark in front only', () => {
    expect(read('\uFEFF', 'data: x\n\n\uFEFFdata: y\n\ndata: \uFEFF\n\n')).toEqual([message('x'), message('\uFEFF')])
  })

  test.each(['\n', '\r', '\r\n'])('ends its lines with %j', (end) => {
    expect(read(['data: a', 'data: b', '', 'data: c', '', ''].join(end))).toEqual([message('a\nb'), message('c')])
  })

  test('gives an event as soon as it has ended, even with CR', () => {
    expect(read('data: a\r\r')).toEqual([message('a')])
    expect(read('data: a\r\n\r')).toEqual([message('a')])
  })

  test('takes CR and LF for one line end, however far apart they come', () => {
    expect(read('data: a\r', '', '\ndata: b\r\n', '\r', '\n')).toEqual([message('a\nb')])
  })

  test('gives the same events wherever it is cut (R25)', () => {
    const pieces = fc.constantFrom(
      'data: x',
      'data:',
      'id: 1',
      'event: e',
      ': c',
      'retry: 9',
      '\n',
      '\r',
      '\r\n',
      '\uFEFF',
      '🙂',
      'data: 🙂\n\n',
      'é',
    )
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 40 }), fc.array(fc.nat({ max: 200 })), (parts, cuts) => {
        const stream = parts.join('')
        const places = [0, ...cuts.filter((cut) => cut <= stream.length).toSorted((a, b) => a - b), stream.length]
        const chunks = places.slice(1).map((end, index) => stream.slice(places[index], end))
        expect(read(...chunks)).toEqual(read(stream))
        expect(read(...stream.split(''))).toEqual(read(stream))
      }),
      { numRuns: 300 },
    )
  })

  test('may be read by a listener that reads another stream', () => {
    const seen: string[] = []
    const inner = new SseParser(({ data }) => seen.push(data))
    const outer = new SseParser(({ data }) => inner.push(`data: inner ${data}\n\n`))
    outer.push('data: 1\n\ndata: 2\n\n')
    expect(seen).toEqual(['inner 1', 'inner 2'])
  })

  test('is refused beyond 8 MiB without the end of an event: too_large', () => {
    const megabyte = 'x'.repeat(1024 * 1024)
    const endless = new SseParser(() => {})
    endless.push('data: ')
    for (let count = 0; count < 7; count += 1) endless.push(megabyte)
    expect(codeOf(() => endless.push(megabyte))).toBe('too_large')
    const manyLines = new SseParser(() => {})
    for (let count = 0; count < 7; count += 1) manyLines.push(`data: ${megabyte}\n`)
    expect(codeOf(() => manyLines.push(`data: ${megabyte}\ndata: x\n`))).toBe('too_large')
  })

  test('of any length is read while its events are short', () => {
    const parser = new SseParser(() => {})
    const chunk = `data: ${'x'.repeat(500_000)}\n\n`
    for (let count = 0; count < 40; count += 1) parser.push(chunk)
    expect(codeOf(() => parser.push(chunk))).toBeNull()
  })
})
