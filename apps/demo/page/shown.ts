const nothing = '–'

/** A price with its cents; a dash for what is not a price, such as NaN, which arrives as `null`. */
export function shownPrice(price: number | null | undefined): string {
  return isNumber(price) ? price.toFixed(2) : nothing
}

/** Whether the second is above (1) or below (-1) the first; 0 also when one of them is not a number. */
export function direction(before: number | null | undefined, now: number | null | undefined): number {
  return isNumber(before) && isNumber(now) ? Math.sign(now - before) : 0
}

/** The time of day; a dash for a time that JavaScript does not know, such as `infinity`. */
export function shownTime(time: string | null): string {
  const at = Date.parse(time ?? '')
  return Number.isNaN(at) ? nothing : new Date(at).toLocaleTimeString()
}

/** A text; a dash where it would be invisible. */
export function shownText(text: string | null): string {
  return text === null || text.trim() === '' ? nothing : text
}

function isNumber(value: number | null | undefined): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}
