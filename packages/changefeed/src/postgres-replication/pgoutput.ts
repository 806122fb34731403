import { CrossfadeError } from '@crossfade/protocol'
import { unsent } from '../change.ts'
import type { Lsn } from './lsn.ts'

/** A column of a relation, as the stream describes it. */
export interface RelationColumn {
  readonly name: string
  readonly typeOid: number
  readonly isKey: boolean
}

/** A table as the stream describes it; sent before its first row and after each change of its shape. */
export interface Relation {
  readonly oid: number
  readonly schema: string
  readonly name: string
  readonly columns: readonly RelationColumn[]
}

/** The values of a row in the order of the relation's columns: text, `null`, or not sent. */
export type Tuple = readonly (string | null | typeof unsent)[]

/** The messages of pgoutput, protocol version 1 (PostgreSQL manual, "Logical Replication Message Formats"). */
export type PgoutputMessage =
  | { readonly kind: 'begin'; readonly commitLsn: Lsn; readonly committedAt: number; readonly xid: number }
  | { readonly kind: 'commit'; readonly commitLsn: Lsn; readonly endLsn: Lsn; readonly committedAt: number }
  | { readonly kind: 'relation'; readonly relation: Relation }
  | { readonly kind: 'insert'; readonly oid: number; readonly after: Tuple }
  | { readonly kind: 'update'; readonly oid: number; readonly before: OldTuple | null; readonly after: Tuple }
  | { readonly kind: 'delete'; readonly oid: number; readonly before: OldTuple }
  | { readonly kind: 'truncate'; readonly oids: readonly number[] }
  | { readonly kind: 'message'; readonly prefix: string; readonly content: string }
  | { readonly kind: 'other' }

/** A row as it was: whole with REPLICA IDENTITY FULL, else only its key. */
export interface OldTuple {
  readonly keyOnly: boolean
  readonly values: Tuple
}

/** Microseconds from 1970 to 2000, where PostgreSQL's clock begins. */
const postgresEpochMs = 946_684_800_000

/**
 * Reads one message.
 *
 * @throws CrossfadeError `malformed` when the bytes are not such a message.
 */
export function parsePgoutput(bytes: Buffer): PgoutputMessage {
  try {
    return readMessage(new Reader(bytes))
  } catch (error) {
    if (error instanceof CrossfadeError) throw error
    throw new CrossfadeError(
      'malformed',
      `A message of the replication stream is cut or malformed (${bytes.length} bytes).`,
      { cause: error },
    )
  }
}

function readMessage(reader: Reader): PgoutputMessage {
  const tag = reader.character()
  switch (tag) {
    case 'B':
      return { kind: 'begin', commitLsn: reader.int64(), committedAt: reader.time(), xid: reader.uint32() }
    case 'C':
      reader.skip(1)
      return { kind: 'commit', commitLsn: reader.int64(), endLsn: reader.int64(), committedAt: reader.time() }
    case 'R':
      return { kind: 'relation', relation: readRelation(reader) }
    case 'I': {
      const oid = reader.uint32()
      expect(reader, 'N')
      return { kind: 'insert', oid, after: readTuple(reader) }
    }
    case 'U':
      return readUpdate(reader)
    case 'D':
      return { kind: 'delete', oid: reader.uint32(), before: readOldTuple(reader, reader.character()) }
    case 'T': {
      const count = reader.uint32()
      reader.skip(1)
      return { kind: 'truncate', oids: Array.from({ length: bounded(count) }, () => reader.uint32()) }
    }
    case 'M':
      reader.skip(9)
      return { kind: 'message', prefix: reader.cstring(), content: reader.text(reader.uint32()) }
    case 'Y':
    case 'O':
      return { kind: 'other' }
    default:
      throw new CrossfadeError(
        'malformed',
        `The replication stream sent a message of type ${JSON.stringify(tag)}, which pgoutput version 1 does not have.`,
      )
  }
}

function readRelation(reader: Reader): Relation {
  const oid = reader.uint32()
  const schema = reader.cstring()
  const name = reader.cstring()
  reader.skip(1)
  const count = reader.uint16()
  const columns = Array.from({ length: count }, () => {
    const isKey = (reader.uint8() & 1) === 1
    const column = { name: reader.cstring(), typeOid: reader.uint32(), isKey }
    reader.skip(4)
    return column
  })
  // An empty schema stands for pg_catalog.
  return { oid, schema: schema === '' ? 'pg_catalog' : schema, name, columns }
}

function readUpdate(reader: Reader): PgoutputMessage {
  const oid = reader.uint32()
  const tag = reader.character()
  if (tag === 'N') return { kind: 'update', oid, before: null, after: readTuple(reader) }
  const before = readOldTuple(reader, tag)
  expect(reader, 'N')
  return { kind: 'update', oid, before, after: readTuple(reader) }
}

/** `K` goes before a key, `O` before a whole row. */
function readOldTuple(reader: Reader, tag: string): OldTuple {
  if (tag !== 'K' && tag !== 'O') throw unexpected(tag, 'K or O')
  return { keyOnly: tag === 'K', values: readTuple(reader) }
}

function readTuple(reader: Reader): Tuple {
  const count = reader.uint16()
  return Array.from({ length: count }, () => {
    const tag = reader.character()
    if (tag === 'n') return null
    if (tag === 'u') return unsent
    if (tag === 't') return reader.text(reader.uint32())
    throw new CrossfadeError(
      'malformed',
      `A column of the replication stream has the format ${JSON.stringify(tag)}; only text is asked for.`,
    )
  })
}

function expect(reader: Reader, tag: string): void {
  const found = reader.character()
  if (found !== tag) throw unexpected(found, tag)
}

function unexpected(found: string, wanted: string): CrossfadeError {
  return new CrossfadeError(
    'malformed',
    `The replication stream sent ${JSON.stringify(found)} where ${wanted} must stand.`,
  )
}

function bounded(count: number): number {
  if (count > 65_536)
    throw new CrossfadeError('malformed', `The replication stream names ${count} tables in one message.`)
  return count
}

/** Reads big-endian fields one after the other; beyond the end it throws. */
class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  uint8(): number {
    return this.#bytes.readUInt8(this.#move(1))
  }

  uint16(): number {
    return this.#bytes.readUInt16BE(this.#move(2))
  }

  uint32(): number {
    return this.#bytes.readUInt32BE(this.#move(4))
  }

  int64(): bigint {
    return this.#bytes.readBigUInt64BE(this.#move(8))
  }

  /** A time in ms since 1970. */
  time(): number {
    return Number(this.#bytes.readBigInt64BE(this.#move(8)) / 1000n) + postgresEpochMs
  }

  character(): string {
    return String.fromCharCode(this.uint8())
  }

  text(length: number): string {
    const start = this.#move(length)
    return this.#bytes.toString('utf8', start, start + length)
  }

  cstring(): string {
    const end = this.#bytes.indexOf(0, this.#at)
    if (end === -1) throw new RangeError('no end of text')
    const text = this.#bytes.toString('utf8', this.#at, end)
    this.#at = end + 1
    return text
  }

  skip(length: number): void {
    this.#move(length)
  }

  #move(length: number): number {
    const at = this.#at
    if (at + length > this.#bytes.length) throw new RangeError('beyond the end')
    this.#at += length
    return at
  }
}
