import type { Opened } from './edge.ts'

// The ticket stays in the address's fragment, which no server sees, so that a
// reload or a bookmark shows it again; what else was said of it stays in the tab.
const shelf = 'fte.ticket'

export function remember(t: Opened): void {
  sessionStorage.setItem(shelf, JSON.stringify(t))
  const fragment = new URLSearchParams({ ticket: t.ticket_id, reference: t.reference, token: t.access_token })
  history.replaceState(null, '', `#${fragment}`)
}

export function recall(): Opened | undefined {
  const kept = parse(sessionStorage.getItem(shelf))
  const fragment = new URLSearchParams(location.hash.slice(1))
  const [ticket_id, access_token] = [fragment.get('ticket'), fragment.get('token')]
  if (!ticket_id || !access_token) return kept
  if (kept?.ticket_id === ticket_id) return kept
  return { ticket_id, access_token, reference: fragment.get('reference') ?? '', message: '', estimated_response_time: '' }
}

export function forget(): void {
  sessionStorage.removeItem(shelf)
  history.replaceState(null, '', location.pathname)
}

function parse(text: string | null): Opened | undefined {
  try {
    return (JSON.parse(text ?? 'null') as Opened | null) ?? undefined
  } catch {
    return undefined
  }
}
