import { find } from './element.ts'

/** Shows a notice above the page; '' removes it. */
export function tell(text: string): void {
  const notice = find('#notice')
  notice.textContent = text
  notice.hidden = text === ''
}
