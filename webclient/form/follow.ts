import { listen } from '../shared/events.ts'
import { pause, Problem } from '../shared/http.ts'
import { ticket, type Opened, type Ticket } from './edge.ts'

/** How the page learns of news: live, by asking now and then, or not any more. */
export type Link = 'connecting' | 'live' | 'polling' | 'gone'

const soonest = 2_000
const latest = 30_000

/**
 * Follows a ticket until the signal aborts: by server-sent events, resumed where
 * they broke off, and by asking every 2 to 30 seconds while there are none. Each
 * event is the whole ticket.
 */
export async function follow(t: Opened, on: { ticket(t: Ticket): void; link(l: Link): void }, signal: AbortSignal): Promise<void> {
  let lastId = ''
  let wait = soonest
  while (!signal.aborted) {
    try {
      const { path, headers } = ticket.events(t)
      await listen(path, { headers, lastId, signal }, {
        open() {
          wait = soonest
          on.link('live')
        },
        event(e) {
          lastId = e.id || lastId
          on.ticket(JSON.parse(e.data) as Ticket)
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
      on.ticket(await ticket.read(t, signal))
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
