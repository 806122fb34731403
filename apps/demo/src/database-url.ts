/** What anybody may know about a database: user, host and name, without the password, wherever the URL has it. `null`: not such a URL. */
export function withoutPassword(databaseUrl: string): string | null {
  if (!URL.canParse(databaseUrl)) return null
  const { protocol, username, host, pathname } = new URL(databaseUrl)
  if (!/^postgres(ql)?:$/.test(protocol) || host === '') return null
  return `${protocol}//${username === '' ? '' : `${username}@`}${host}${pathname}`
}
