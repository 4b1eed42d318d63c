import { useEffect, useRef, useState } from 'preact/hooks'
import type { Api, Message, Sent } from './api.ts'
import { clock } from './actor.tsx'
import { first, type Person } from './people.ts'
import type { Written } from './vendors.ts'

interface Props {
  api: Api
  person: Person
  written: Written[]
  messages: Message[]
  sent: Sent[]
  onWrite(text: string): Promise<void>
}

interface Bubble {
  id: string
  own: boolean
  text: string
  at: string
  ticks: 0 | 1 | 2 | 3
}

const ticks = ['not delivered', 'sent', 'delivered', 'read'] as const

/** The customer's phone: what was written, and what WhatsApp delivered. */
export function Chat({ api, person, written, messages, sent, onWrite }: Props) {
  const end = useRef<HTMLDivElement>(null)
  const bubbles = conversation(person, written, messages, sent)
  useEffect(() => end.current?.scrollTo({ top: end.current.scrollHeight }), [bubbles.length, person.id])
  return (
    <section class="phone" aria-label={`WhatsApp of ${person.name}`}>
      <header>
        <span class="avatar" aria-hidden="true">
          S
        </span>
        <span>
          <b>Support</b>
          <small>{api.session.whatsapp_number.replace('whatsapp:', '')}</small>
        </span>
      </header>
      <div class="bubbles" ref={end} role="log" aria-label="Chat" tabIndex={0}>
        {bubbles.length === 0 && <p class="empty">Nothing here yet. Ask something, as {first(person)} would.</p>}
        {bubbles.map((b) => (
          <p key={b.id} class={b.own ? 'bubble own' : 'bubble'}>
            <span>{b.text}</span>
            <small>
              {clock(b.at)}
              {b.own && (
                <span class={`ticks t${b.ticks}`} role="img" aria-label={ticks[b.ticks]}>
                  {['⚠', '✓', '✓✓', '✓✓'][b.ticks]}
                </span>
              )}
            </small>
          </p>
        ))}
      </div>
      <Say label={`Message from ${first(person)}`} onWrite={onWrite} />
      <p class="hint legend">✓✓ accepted: Kafka has it · blue: the customer’s actor has stored it</p>
    </section>
  )
}

function conversation(person: Person, written: Written[], messages: Message[], sent: Sent[]): Bubble[] {
  const stored = messages.filter((m) => m.channel === 'whatsapp' && m.direction === 'in')
  const known = new Set(stored.map((m) => m.external_id))
  const own: Bubble[] = [
    ...stored.map((m): Bubble => ({ id: m.external_id!, own: true, text: m.text, at: m.accepted_at ?? m.committed_at, ticks: 3 })),
    ...written.filter((w) => !known.has(w.external_id)).map((w): Bubble => ({ id: w.external_id, own: true, text: w.text, at: w.at, ticks: w.accepted ? 2 : 0 })),
  ]
  const theirs = sent
    .filter((s) => s.channel === 'whatsapp' && s.to.endsWith(person.phone))
    .map((s): Bubble => ({ id: s.provider_id, own: false, text: s.text || s.body, at: s.at, ticks: 2 }))
  return [...own, ...theirs].sort((a, b) => Date.parse(a.at) - Date.parse(b.at))
}

/** A line to write in; Enter sends. */
export function Say({ label, onWrite }: { label: string; onWrite(text: string): Promise<void> }) {
  const [text, setText] = useState('')
  const [error, setError] = useState('')
  const send = async (e: Event) => {
    e.preventDefault()
    if (!text.trim()) return
    try {
      setError('')
      setText('')
      await onWrite(text)
    } catch (err) {
      setText(text)
      setError(err instanceof Error ? err.message : String(err))
    }
  }
  return (
    <form class="say" onSubmit={send}>
      <input aria-label={label} placeholder={label} value={text} onInput={(e) => setText(e.currentTarget.value)} />
      <button type="submit" class="primary">
        Send
      </button>
      <p class="error" role="alert">
        {error}
      </p>
    </form>
  )
}
