import { randomBytes } from 'node:crypto'

/** The id of one connection, for logs and support. */
export function connectionId(): string {
  return randomBytes(9).toString('base64url')
}
