/** The version of the wire contract, as `hello` says it (R31). */
export const protocolVersion = 1

/** The WebSocket subprotocol of this version (R31). */
export const subprotocol = 'crossfade.v1'

/** The response header by which an endpoint says that it can be pushed (R10). */
export const headerName = 'Crossfade'

/** The response header by which a server in development says why an answer is nobody's topic (R10). */
export const skippedHeaderName = 'Crossfade-Skipped'

/** Where the server is mounted unless it says otherwise. */
export const defaultBase = '/crossfade'

/** The server's own paths, relative to the base (PROTOCOL §4, §5, §9). `rpc` and `features` are followed by `/<name>`. */
export const paths = {
  poll: '/poll',
  sse: '/sse',
  websocket: '/ws',
  probe: '/probe',
  rpc: '/rpc',
  report: '/report',
  health: '/health',
  metrics: '/metrics',
  features: '/features',
} as const
