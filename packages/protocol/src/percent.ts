import { CrossfadeError } from './errors.ts'

// encodeURIComponent leaves A-Z a-z 0-9 - _ . ! ~ * ' ( ) as they are. These may stand in a path segment and a query, too (RFC 3986 §3.3),
// and ids such as `AC:ME` or `ann@example.com` stay readable.
const readable: Readonly<Record<string, string>> = { '%3A': ':', '%40': '@', '%24': '$', '%2C': ',', '%3B': ';' }

/**
 * Percent-encodes a text in the one way that a topic's name allows (R1), so that a thing has one name:
 * all but `A-Z a-z 0-9 - _ . ~ ! $ ' ( ) * , : ; @` as `%` and two upper-case hex digits for each byte of UTF-8.
 *
 * @throws CrossfadeError `invalid_topic` for a lone surrogate, which has no UTF-8.
 */
export function percentEncode(text: string): string {
  try {
    return encodeURIComponent(text).replaceAll(/%(?:3A|40|24|2C|3B)/g, (code) => readable[code] as string)
  } catch (cause) {
    throw new CrossfadeError(
      'invalid_topic',
      `${JSON.stringify(text)} has half a surrogate pair. Send well-formed text.`,
      { cause },
    )
  }
}

/**
 * Reads what `percentEncode` wrote.
 *
 * @returns `null` when the text is not in the canonical form.
 */
export function percentDecode(text: string): string | null {
  try {
    const decoded = decodeURIComponent(text)
    return percentEncode(decoded) === text ? decoded : null
  } catch {
    return null
  }
}
