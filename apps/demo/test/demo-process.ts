import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** `npm start`, as any user would run it. */
export interface DemoProcess {
  readonly child: ChildProcess
  readonly pid: number
  /** What it printed so far, both streams. */
  readonly output: () => string
  /** The code that it ended with, at the latest after `withinMs`. */
  exitCode(withinMs: number): Promise<number | null>
}

/** A demo that serves. */
export interface ReadyDemo extends DemoProcess {
  readonly origin: string
  readonly port: number
  readonly databaseUrl: string
  readonly postgresPort: number
  readonly postgresPid: number
}

/** Starts `npm start` in its own process group. */
export function npmStart(environment: Record<string, string>): DemoProcess {
  const { DATABASE_URL: _, ...inherited } = process.env
  const child = spawn('npm', ['start'], {
    cwd: root,
    detached: true,
    env: { ...inherited, DEMO_SIMULATE: '0', PORT: '0', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (output += String(chunk)))
  const ended = once(child, 'exit') as Promise<[number | null]>
  return {
    child,
    pid: child.pid ?? 0,
    output: () => output,
    exitCode: async (withinMs) =>
      (await bounded(ended, withinMs, () => `the demo did not end within ${withinMs} ms:\n${output}`))[0],
  }
}

/** Waits until it says that it serves, on a line alone. */
export async function ready(demo: DemoProcess, folder: string, withinMs: number): Promise<ReadyDemo> {
  await eventually(withinMs, () => {
    if (demo.child.exitCode !== null) throw new Error(`the demo ended:\n${demo.output()}`)
    return /^Crossfade demo ready on http:\/\/\S+$/m.test(demo.output())
  })
  const origin = /^Crossfade demo ready on (http:\/\/\S+)$/m.exec(demo.output())?.[1] ?? ''
  const databaseUrl = /^Database (postgres:\/\/\S+)$/m.exec(demo.output())?.[1] ?? ''
  const postgresPort = Number(new URL(databaseUrl).port)
  return {
    ...demo,
    origin,
    port: Number(new URL(origin).port),
    databaseUrl,
    postgresPort,
    postgresPid: postmasterPid(folderOfData(demo, folder)),
  }
}

/** Every process that is alive in the group that `npm start` leads. */
export function aliveInGroup(group: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const [, state, , pgrp] = /\) (\S) (\d+) (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? []
        return Number(pgrp) === group && state !== 'Z'
      } catch {
        return false
      }
    })
}

/** Whether a process exists and is not a zombie. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !existsSync('/proc') || !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** Whether anybody listens on a port of 127.0.0.1. */
export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/** Polls until the condition holds; fails after `withinMs`. */
export async function eventually(withinMs: number, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + withinMs
  while (!(await isSo())) {
    if (Date.now() > end) throw new Error(`it was not so within ${withinMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

/** Where the data of its PostgreSQL really is. */
export function folderOfData(demo: DemoProcess, folder: string): string {
  return /^Its data is in (.+), where its user can reach it\.$/m.exec(demo.output())?.[1] ?? join(folder, 'postgres')
}

/** The process that serves a data folder. */
export function postmasterPid(dataFolder: string): number {
  return Number(readFileSync(join(dataFolder, 'postmaster.pid'), 'utf8').split('\n')[0])
}

async function bounded<T>(work: Promise<T>, withinMs: number, words: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(words())), withinMs)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
