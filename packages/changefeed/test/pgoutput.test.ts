import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { unsent } from '../src/index.ts'
import { parsePgoutput } from '../src/postgres-replication/pgoutput.ts'
import { codeOf } from './code-of.ts'

const u8 = (...values: number[]): Buffer => Buffer.from(values)
const tag = (text: string): Buffer => Buffer.from(text)
const cstring = (text: string): Buffer => Buffer.from(`${text}\0`)
const u16 = (value: number): Buffer => u8(value >> 8, value & 255)
const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
const u64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(value)
  return bytes
}
const text = (value: string): Buffer => Buffer.concat([tag('t'), u32(Buffer.byteLength(value)), Buffer.from(value)])

/** A message of each kind as PostgreSQL's manual lays it out ("Logical Replication Message Formats"). */
const messages = {
  begin: Buffer.concat([tag('B'), u64(0x16b374d848n), u64(1_000_000n), u32(42)]),
  commit: Buffer.concat([tag('C'), u8(0), u64(10n), u64(20n), u64(1_500_000n)]),
  relation: Buffer.concat([
    tag('R'),
    u32(7),
    cstring('public'),
    cstring('things'),
    tag('d'),
    u16(2),
    u8(1),
    cstring('id'),
    u32(23),
    u32(0xffffffff),
    u8(0),
    cstring('note'),
    u32(25),
    u32(0xffffffff),
  ]),
  insert: Buffer.concat([tag('I'), u32(7), tag('N'), u16(2), text('1'), tag('n')]),
  update: Buffer.concat([tag('U'), u32(7), tag('N'), u16(2), text('1'), tag('u')]),
  keyMove: Buffer.concat([
    tag('U'),
    u32(7),
    tag('K'),
    u16(2),
    text('1'),
    tag('n'),
    tag('N'),
    u16(2),
    text('2'),
    text('é'),
  ]),
  fullUpdate: Buffer.concat([tag('U'), u32(7), tag('O'), u16(1), text('1'), tag('N'), u16(1), text('2')]),
  delete: Buffer.concat([tag('D'), u32(7), tag('K'), u16(1), text('1')]),
  truncate: Buffer.concat([tag('T'), u32(2), u8(0), u32(7), u32(8)]),
  message: Buffer.concat([tag('M'), u8(0), u64(1n), cstring('crossfade'), u32(2), tag('s1')]),
  type: Buffer.concat([tag('Y'), u32(99), cstring('public'), cstring('mood')]),
  origin: Buffer.concat([tag('O'), u64(1n), cstring('elsewhere')]),
}

describe('the reader of pgoutput', () => {
  it('reads each message', () => {
    expect(parsePgoutput(messages.begin)).toEqual({
      kind: 'begin',
      commitLsn: 0x16b374d848n,
      committedAt: 946_684_801_000,
      xid: 42,
    })
    expect(parsePgoutput(messages.commit)).toEqual({
      kind: 'commit',
      commitLsn: 10n,
      endLsn: 20n,
      committedAt: 946_684_801_500,
    })
    expect(parsePgoutput(messages.relation)).toEqual({
      kind: 'relation',
      relation: {
        oid: 7,
        schema: 'public',
        name: 'things',
        columns: [
          { name: 'id', typeOid: 23, isKey: true },
          { name: 'note', typeOid: 25, isKey: false },
        ],
      },
    })
    expect(parsePgoutput(messages.insert)).toEqual({ kind: 'insert', oid: 7, after: ['1', null] })
    expect(parsePgoutput(messages.update)).toEqual({ kind: 'update', oid: 7, before: null, after: ['1', unsent] })
    expect(parsePgoutput(messages.keyMove)).toEqual({
      kind: 'update',
      oid: 7,
      before: { keyOnly: true, values: ['1', null] },
      after: ['2', 'é'],
    })
    expect(parsePgoutput(messages.fullUpdate)).toMatchObject({ before: { keyOnly: false, values: ['1'] } })
    expect(parsePgoutput(messages.delete)).toEqual({ kind: 'delete', oid: 7, before: { keyOnly: true, values: ['1'] } })
    expect(parsePgoutput(messages.truncate)).toEqual({ kind: 'truncate', oids: [7, 8] })
    expect(parsePgoutput(messages.message)).toEqual({ kind: 'message', prefix: 'crossfade', content: 's1' })
    expect(parsePgoutput(messages.type)).toEqual({ kind: 'other' })
    expect(parsePgoutput(messages.origin)).toEqual({ kind: 'other' })
  })

  it('refuses every message that is cut, with its own error', () => {
    for (const [kind, bytes] of Object.entries(messages)) {
      if (kind === 'type' || kind === 'origin') continue
      for (let length = 0; length < bytes.length; length++) {
        expect(
          codeOf(() => parsePgoutput(bytes.subarray(0, length))),
          `${kind} of ${length} bytes`,
        ).toBe('malformed')
      }
    }
  })

  it('answers noise and damaged messages with a message or its own error', () => {
    const damaged = fc
      .tuple(fc.constantFrom(...Object.values(messages)), fc.nat(), fc.nat(255))
      .map(([bytes, at, value]) => {
        const copy = Buffer.from(bytes)
        copy[at % copy.length] = value
        return copy
      })
    const noise = fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes))
    fc.assert(
      fc.property(fc.oneof(damaged, noise), (bytes) => {
        expect(['malformed', null]).toContain(codeOf(() => parsePgoutput(bytes)))
      }),
      { numRuns: 5000 },
    )
  })
})
