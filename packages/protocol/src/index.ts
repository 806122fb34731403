export { CrossfadeError } from './errors.ts'
export {
  clientErrorCodes,
  httpStatusOf,
  setupErrorCodes,
  wireErrorCodes,
  type ClientErrorCode,
  type ErrorCode,
  type SetupErrorCode,
  type WireErrorCode,
} from './codes.ts'
export { closeCodes, closeRule, type CloseName, type CloseRetry, type CloseRule } from './close-codes.ts'
export { defaultBase, headerName, paths, protocolVersion, skippedHeaderName, subprotocol } from './names.ts'
export { defaultLimits, type LimitName } from './limits.ts'
export { formatCursor, isUpTo, newEpoch, parseCursor, type CursorParts } from './cursor.ts'
export { canonicalJson } from './canonical-json.ts'
export { hashValue } from './hash.ts'
export { murmur3 } from './murmur3.ts'
export { assertTopic, topicName, topicQuery } from './topic.ts'
export { topicPattern, type TopicPattern } from './topic-pattern.ts'
export { formatHeader, parseHeader, type EndpointHeader } from './header.ts'
export { bucketOf, stageFor, stages, type Rollout, type Stage, type VersionedRollout } from './rollout.ts'
export { applyPatch, type PatchOperation } from './patch.ts'
export { staleReasons } from './messages.ts'
export type {
  Bye,
  Changed,
  ClientHello,
  ClientMessage,
  ErrorMessage,
  EventMessage,
  Failure,
  Fresh,
  Heartbeat,
  Hello,
  Ping,
  Request,
  Reset,
  Response,
  ServerMessage,
  StageMessage,
  Stale,
  StaleReason,
  Subscribe,
  Subscribed,
  SubscriptionMode,
  Token,
  TopicKind,
  TopicPosition,
  Unsubscribe,
  Unsubscribed,
  UnsubscribedCode,
} from './messages.ts'
export { isServerMessage, parseClientMessages, parseServerMessages } from './message-lines.ts'
export { validateClientMessage } from './validate-client-message.ts'
export { parsePollAnswer, parsePollRequest, type PollAnswer, type PollRequest } from './poll.ts'
export { encodeSse, type SseFields } from './sse.ts'
export { SseParser, type SseEvent } from './sse-parser.ts'
export type { Problem } from './problem.ts'
