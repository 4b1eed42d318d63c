import { useEffect, useRef, useState } from 'preact/hooks'
import type { Opened, Ticket } from './edge.ts'
import { follow, type Link } from './follow.ts'
import { Verify } from './verify.tsx'

interface Props {
  opened: Opened
  onAnother(): void
  /** Each state of the ticket as it comes. */
  onTicket?(t: Ticket): void
  /** Leave the focus where it is. */
  quiet?: boolean
}

const statuses: Record<Ticket['status'], string> = {
  received: 'Received',
  open: 'Being answered',
  answered: 'Answered',
  with_person: 'With a person',
  resolved: 'Resolved',
}

const authors = { customer: 'You', agent: 'Support assistant (AI)', person: 'Support team' }

const links: Record<Link, string> = {
  connecting: 'Connecting…',
  live: 'Live: what is answered appears here by itself.',
  polling: 'The connection is away. Nothing is lost; this page keeps asking.',
  gone: 'This ticket cannot be shown any more. Its reference still finds it.',
}

/** What comes after the form: the reference, and the conversation as it happens. */
export function TicketView({ opened, onAnother, onTicket, quiet }: Props) {
  const [ticket, setTicket] = useState<Ticket>()
  const [link, setLink] = useState<Link>('connecting')
  const heading = useRef<HTMLHeadingElement>(null)

  useEffect(() => {
    const stop = new AbortController()
    setTicket(undefined)
    const take = (t: Ticket) => {
      setTicket(t)
      onTicket?.(t)
    }
    void follow(opened, { ticket: take, link: setLink }, stop.signal)
    if (!quiet) heading.current?.focus()
    return () => stop.abort()
  }, [opened.ticket_id])

  const status = ticket?.status ?? 'received'
  return (
    <section class="ticket" aria-labelledby="ticket-heading">
      <h2 id="ticket-heading" ref={heading} tabIndex={-1}>
        We have your message
      </h2>
      <p>
        Your reference is <strong class="reference">{opened.reference}</strong>. {opened.message}
      </p>
      {opened.estimated_response_time && <p class="hint">Expected answer: {opened.estimated_response_time}</p>}
      <p class={`status ${status}`} role="status">
        Status: {statuses[status] ?? status}
      </p>
      <div class="thread" role="log" aria-label="Conversation" aria-live="polite">
        {ticket?.messages.map((m) => (
          <article key={m.seq} class={`said ${m.by}`}>
            <header>
              <strong>{authors[m.by] ?? m.by}</strong> <time dateTime={m.at}>{clock(m.at)}</time>
            </header>
            <p>{m.text}</p>
          </article>
        ))}
      </div>
      {status !== 'answered' && status !== 'resolved' && status !== 'with_person' && link !== 'gone' && (
        <p class="thinking" aria-hidden="true">
          <i /> <i /> <i />
        </p>
      )}
      <p class={`link ${link}`}>{links[link]}</p>
      <Verify opened={opened} />
      <button type="button" onClick={onAnother}>
        Send another message
      </button>
    </section>
  )
}

function clock(at: string): string {
  return new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
}
