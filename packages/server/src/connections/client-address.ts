import { BlockList, isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'

const privateRanges = new BlockList()
for (const [network, bits] of [
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
] as const)
  privateRanges.addSubnet(network, bits, 'ipv4')
for (const [network, bits] of [
  ['::1', 128],
  ['fc00::', 7],
  ['fe80::', 10],
] as const)
  privateRanges.addSubnet(network, bits, 'ipv6')

/**
 * The address that a request comes from, by the application's own `trustProxy`; IPv4 always in its short form.
 *
 * @returns `null` where there is none, such as on a Unix socket, or where a proxy sends something that is not an address.
 */
export function addressOf(request: Pick<FastifyRequest, 'ip'>): string | null {
  // Fastify's type promises a string, but a Unix socket has no address. Some proxies add a port.
  const ip = (request.ip as string | undefined)
    ?.replace(/^::ffff:(?=\d+\.)/i, '')
    .replace(/^(\d+(?:\.\d+){3}):\d+$/, '$1')
  return ip === undefined || isIP(ip) === 0 ? null : ip
}

/**
 * By what a client without account is counted: its IPv4 address, or the /64 network of its IPv6 address. One host has all addresses of that
 * (RFC 7934), and would have as many limits.
 */
export function networkOf(address: string): string {
  const [bare = ''] = address.split('%')
  if (isIP(bare) !== 6) return bare
  const [head = '', tail] = bare.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0')
  const groups = tail === undefined ? left : [...left, ...zeros, ...right]
  const network = groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16))
  return `${network.join(':')}::/64`
}

/** Whether an address belongs to a private network, to this machine or to one link (RFC 1918, 3927, 4193, 4291). */
export function isPrivate(address: string): boolean {
  const [bare = ''] = address.split('%')
  return privateRanges.check(bare, isIP(bare) === 6 ? 'ipv6' : 'ipv4')
}
