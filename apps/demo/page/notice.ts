import { find } from './element.ts'

/** Says something above the page; '' says nothing more. */
export function tell(text: string): void {
  const notice = find('#notice')
  notice.textContent = text
  notice.hidden = text === ''
}
