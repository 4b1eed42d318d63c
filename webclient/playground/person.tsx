import { useEffect, useState } from 'preact/hooks'
import { Problem } from '../shared/http.ts'
import type { Api, Customer } from './api.ts'
import { channels, ways, type Channel } from './people.ts'

interface Props {
  api: Api
  customer: Customer
  channel: Channel
  who: string
  refresh(): void
}

interface Leaving {
  key: string
  at: number // ms of performance.now()
}

const undoable = 10_000

/** What a support person can do: take over, answer, take an answer back, give the customer back. */
export function PersonDesk({ api, customer: c, channel, who, refresh }: Props) {
  const [name, setName] = useState('Dana')
  const [text, setText] = useState('')
  const [said, setSaid] = useState('')
  const [leaving, setLeaving] = useState<Leaving>()
  const left = useCountdown(leaving?.at)

  const attempt = async (what: () => Promise<string>) => {
    try {
      setSaid(await what())
    } catch (err) {
      setSaid(err instanceof Problem ? err.message : String(err))
    }
    refresh()
  }

  const takeOver = (e: Event) => {
    e.preventDefault()
    void attempt(async () => {
      const { on_its_way } = await api.takeOver(c.id, name)
      return `${name} holds ${who}; the agent is silent.` + (on_its_way.length ? ` ${on_its_way.length} answer of the agent is already on its way.` : '')
    })
  }

  const reply = (e: Event) => {
    e.preventDefault()
    void attempt(async () => {
      const ticket = c.tickets.find((t) => t.channel === channel)?.id
      const { key, leaves_at } = await api.reply(c.id, text, channel, ticket)
      const wait = leaves_at ? Date.parse(leaves_at) - Date.now() : undoable
      setLeaving({ key, at: performance.now() + Math.min(Math.max(wait, 0), undoable) })
      setText('')
      return 'The reply leaves in 10 seconds.'
    })
  }

  const undo = (key: string) =>
    attempt(async () => {
      await api.undo(c.id, key)
      setLeaving(undefined)
      return 'Taken back: nothing was sent.'
    })

  const release = (answerHeld: boolean) =>
    attempt(async () => {
      await api.release(c.id, answerHeld)
      return answerHeld ? `The agent has ${who} back and answers what waited.` : `The agent has ${who} back; what waited counts as settled.`
    })

  return (
    <div class="desk">
      {c.mode === 'person' ? (
        <>
          <form onSubmit={reply}>
            <label for="reply">
              Answer {who} {ways[channel].by} as {c.held_by}
            </label>
            <textarea id="reply" rows={2} required value={text} onInput={(e) => setText(e.currentTarget.value)} />
            <div class="row">
              <button type="submit" class="primary">
                Send reply
              </button>
              {leaving && left > 0 && (
                <button type="button" class="danger" onClick={() => undo(leaving.key)}>
                  Undo ({left} s)
                </button>
              )}
            </div>
          </form>
          <div class="row">
            <button type="button" onClick={() => release(true)}>
              Release, answer what waited
            </button>
            <button type="button" onClick={() => release(false)}>
              Release, all settled
            </button>
          </div>
        </>
      ) : (
        <form onSubmit={takeOver} class="row">
          <label for="operator">You are</label>
          <input id="operator" class="short" required value={name} onInput={(e) => setName(e.currentTarget.value)} />
          <button type="submit">Take over from the agent</button>
          {c.mode === 'held' && (
            <button type="button" onClick={() => release(true)}>
              Release to the agent
            </button>
          )}
        </form>
      )}
      {c.tickets.length > 0 && (
        <ul class="tickets" aria-label="Open tickets">
          {c.tickets.map((t) => (
            <li key={t.id}>
              <span>
                <b>{t.reference}</b> {channels[t.channel]}, {t.status}
                {t.reason && ` (${t.reason})`}
              </span>
              <button
                type="button"
                class="plain"
                aria-label={`Resolve ${t.reference}`}
                onClick={() => attempt(async () => (await api.resolve(c.id, t.id), `${t.reference} is resolved.`))}
              >
                Resolve
              </button>
            </li>
          ))}
        </ul>
      )}
      <p role="status" class="hint">
        {said}
      </p>
    </div>
  )
}

/** Whole seconds until a moment of performance.now(). */
function useCountdown(at: number | undefined): number {
  const [now, setNow] = useState(performance.now())
  useEffect(() => {
    if (at === undefined) return
    setNow(performance.now())
    const tick = setInterval(() => setNow(performance.now()), 250)
    return () => clearInterval(tick)
  }, [at])
  return at === undefined ? 0 : Math.max(0, Math.ceil((at - now) / 1000))
}
