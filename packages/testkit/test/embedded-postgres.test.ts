import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../src/embedded-postgres.ts'
import { claim } from '../src/embedded-postgres/claim.ts'
import { beginningOf } from '../src/embedded-postgres/processes.ts'
import { makeReachable, reachablePlace, serverUser } from '../src/embedded-postgres/reachable.ts'

let folder: string
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'crossfade-testkit-'))))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe('a data folder', () => {
  it('belongs to one process, until that releases it or is gone', async () => {
    const data = join(folder, 'data')
    const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
    claim(data)()
    const owner = { pid: other.pid, beginning: beginningOf(other.pid ?? 0) }
    writeFileSync(`${data}.owner`, JSON.stringify(owner))
    expect(() => claim(data)).toThrow(`the process ${other.pid} already runs a database on ${data}`)
    other.kill('SIGKILL')
    await once(other, 'exit')
    claim(data)()
    expect(existsSync(`${data}.owner`)).toBe(false)
  })

  it('does not belong to a later process with the number of its owner', () => {
    const data = join(folder, 'data')
    writeFileSync(`${data}.owner`, JSON.stringify({ pid: 1, beginning: 'long ago' }))
    expect(() => claim(data)()).not.toThrow()
  })

  it('that is kept elsewhere is linked from where it was asked for, and new again when the link was removed', () => {
    const asked = join(folder, 'asked')
    const place = join(folder, 'place')
    makeReachable(asked, place, {})
    expect(lstatSync(asked).isSymbolicLink()).toBe(true)
    writeFileSync(join(asked, 'PG_VERSION'), '18')
    makeReachable(asked, place, {})
    expect(readdirSync(place)).toEqual(['PG_VERSION'])
    rmSync(asked)
    makeReachable(asked, place, {})
    expect(readdirSync(place)).toEqual([])
  })

  it('with data is not taken away when its parents keep the server out', () => {
    const asked = join(folder, 'asked')
    mkdirSync(asked)
    writeFileSync(join(asked, 'PG_VERSION'), '18')
    expect(() => makeReachable(asked, join(folder, 'place'), {})).toThrow(`chmod o+x`)
    expect(readdirSync(asked)).toEqual(['PG_VERSION'])
  })

  it('is where it was asked for when the server’s user can get there', () => {
    expect(reachablePlace(folder, {})).toBe(folder)
  })
})

describe('the embedded server', () => {
  let server: EmbeddedPostgres | null = null
  afterEach(async () => server?.stop())

  it('starts where an earlier start was killed while it made the data', async () => {
    const dataFolder = join(folder, 'data')
    const half = `${reachablePlace(dataFolder, serverUser())}.new-1`
    mkdirSync(half, { recursive: true })
    writeFileSync(join(half, 'PG_VERSION'), '18')
    server = await startEmbeddedPostgres({ dataFolder })
    expect(existsSync(half)).toBe(false)
    expect(existsSync(join(dataFolder, 'base'))).toBe(true)
  }, 60_000)
})
