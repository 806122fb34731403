import { history } from './history.ts'
import { mutants } from './mutants.ts'
import { neighbours } from './neighbours.ts'
import { nodes } from './nodes.ts'
import { prisma } from './prisma.ts'
import { rollingDeploy } from './rolling-deploy.ts'

/** A check that is too long for CI. */
export interface Check {
  readonly name: string
  readonly usage: string
  readonly about: string
  /** Prints what it does and its figures. @returns how many violations it found. */
  run(args: readonly string[]): Promise<number>
}

export const checks: readonly Check[] = [history, mutants, neighbours, nodes, prisma, rollingDeploy]
