import { find } from './element.ts'
import { tell } from './notice.ts'
import { post, Refusal } from './post.ts'

const nameKey = 'demo-name'
const pauseMs = 2_000

/** Logs in as the last user of this browser, else as a guest; retries until it works, and says so meanwhile. */
export async function logInAgain(): Promise<void> {
  let name = localStorage.getItem(nameKey)?.trim() || guest()
  for (;;) {
    find<HTMLInputElement>('#name').value = name
    try {
      await logIn(name)
      return tell('')
    } catch (error) {
      // A name that is never valid, such as one that is too long.
      if (error instanceof Refusal && error.isFinal) name = guest()
      tell(`You are not logged in: ${wordsOf(error)}. Trying again …`)
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }
}

/** @throws Error when it fails; then nothing has changed. */
export async function logIn(name: string): Promise<void> {
  await post('/api/login', { name })
  localStorage.setItem(nameKey, name)
  find('label[for="name"]').textContent = 'You are'
}

/** What failed, for the visitor. */
export function wordsOf(error: unknown): string {
  return error instanceof Refusal
    ? `the server answered ${error.message.replace(/\.$/, '')}`
    : 'the server does not answer'
}

function guest(): string {
  return `Guest ${Math.floor(Math.random() * 900) + 100}`
}
