import { listen } from '../shared/events.ts'
import { pause, Problem } from '../shared/http.ts'
import { ticket, type Opened, type Ticket } from './edge.ts'

/** How the page learns of news: live, by asking now and then, or not any more. */
export type Link = 'connecting' | 'live' | 'polling' | 'gone'

const soonest = 2_000
const latest = 30_000

/**
 * Follows a ticket until the signal aborts: by server-sent events, resumed where
 * they broke off, and by asking every 2 to 30 seconds while there are none. An
 * event is a sign to read the ticket again, unless it holds the ticket itself.
 */
export async function follow(t: Opened, on: { ticket(t: Ticket): void; link(l: Link): void }, signal: AbortSignal): Promise<void> {
  let lastId = ''
  let wait = soonest
  const take = (news: Ticket) => on.ticket(news)
  const read = async () => take(await ticket.read(t, signal))
  while (!signal.aborted) {
    try {
      const { path, headers } = ticket.events(t)
      await listen(path, { headers, lastId, signal }, {
        open() {
          wait = soonest
          on.link('live')
          read().catch(() => undefined) // the stream goes on, and brings the next chance
        },
        event(e) {
          lastId = e.id || lastId
          const whole = ticketIn(e.data)
          if (whole) take(whole)
          else read().catch(() => undefined)
        },
      })
      await pause(250, signal) // the server ends streams after half an hour
      continue
    } catch (err) {
      if (signal.aborted) return
      if (forGood(err)) return on.link('gone')
      on.link('polling')
    }
    try {
      await read()
    } catch (err) {
      if (signal.aborted) return
      if (forGood(err)) return on.link('gone')
    }
    await pause(wait, signal)
    wait = Math.min(wait * 2, latest)
  }
}

/** No ticket is shown for this token any more. */
function forGood(err: unknown): boolean {
  return err instanceof Problem && (err.status === 401 || err.status === 404)
}

function ticketIn(data: string): Ticket | undefined {
  try {
    const t = JSON.parse(data) as Partial<Ticket>
    return t.status && Array.isArray(t.messages) ? (t as Ticket) : undefined
  } catch {
    return undefined
  }
}
