/** What anybody may know of a database: whose it is and where, without the password, wherever the URL has it. `null`: no such URL. */
export function withoutPassword(databaseUrl: string): string | null {
  if (!URL.canParse(databaseUrl)) return null
  const { protocol, username, host, pathname } = new URL(databaseUrl)
  if (!/^postgres(ql)?:$/.test(protocol) || host === '') return null
  return `${protocol}//${username === '' ? '' : `${username}@`}${host}${pathname}`
}
