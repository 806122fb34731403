import type { WatchedTable } from '../change-feed.ts'

/** A watched table as rules know it. */
export interface KnownTable {
  /** `schema.name` */
  readonly name: string
  readonly columns: readonly string[]
}

/** The watched tables by the name that rules use and by the number that stays with a table when it is renamed. */
export class TableSet {
  readonly #byName: ReadonlyMap<string, KnownTable>
  readonly #byOid = new Map<number, KnownTable>()
  readonly #isOpen: boolean

  /** @param tables with none, every table that the stream brings counts as watched. */
  constructor(tables: readonly WatchedTable[]) {
    this.#isOpen = tables.length === 0
    this.#byName = new Map(
      tables.map((table) => [tableName(table), { name: tableName(table), columns: table.columns }]),
    )
  }

  /** Notes which table of the database it is. */
  identify(table: WatchedTable, oid: number): void {
    const known = this.#byName.get(tableName(table))
    if (known !== undefined) this.#byOid.set(oid, known)
  }

  /** A table that was renamed while it was followed keeps the name that rules know; `null`: nobody watches it. */
  find({ oid, schema, name }: { oid: number; schema: string; name: string }): KnownTable | null {
    const full = `${schema}.${name}`
    return this.#byOid.get(oid) ?? this.#byName.get(full) ?? (this.#isOpen ? { name: full, columns: [] } : null)
  }
}

export const tableName = ({ schema, name }: WatchedTable): string => `${schema}.${name}`
