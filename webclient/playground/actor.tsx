import type { Turn } from './api.ts'
import { channels } from './people.ts'
import { label } from './story.ts'
import type { World } from './world.ts'

const modes = { bot: 'the agent answers', held: 'waits for a person', person: 'a person answers' }

const outcomes: Record<string, string> = { answered: 'answered', escalated: 'handed to a person', person: 'left to the person', silent: 'no answer needed' }

const reasons: Record<string, string> = {
  first: 'first message',
  idle: 'back after a rest',
  rebalance: 'a member joined or left',
  drain: 'the owner was drained',
  dead: 'the owner died',
  merge: 'two customers became one',
  operator: 'an operator moved it',
}

/** Who a system id is, as far as the members' list still knows. */
const named = (names: World['names'], id: string | null | undefined) => (id ? (names[id] ?? `${id.slice(0, 8)}…`) : 'nobody yet')

/** The customer's actor: who runs it, and all it knows. */
export function Actor({ world, who }: { world: World; who: string }) {
  const { customer: c, names } = world
  if (!c) {
    return <p class="empty">No actor yet: {who} has never written from this address. The first message creates one on one of the workers.</p>
  }
  const running = world.turns.find((t) => t.state === 'claimed')
  return (
    <div class="actor">
      <dl class="facts">
        <Fact name="Owner" value={named(names, c.owner)} strong />
        <Fact name="Epoch" value={c.epoch} title="Raised by whoever takes the customer over" />
        <Fact name="Version" value={c.version} title="Raised by every commit: the fence" />
        <Fact name="Mode" value={modes[c.mode]} />
        <Fact name="In memory" value={c.resident === null ? 'unknown' : c.resident || running ? 'yes' : `no; wakes on ${named(names, c.routed_to)}`} />
        <Fact name="Mailbox" value={c.mailbox_depth === null ? 'unknown' : `${c.mailbox_depth} waiting`} />
      </dl>
      <section aria-label="Running turn" class="now">
        <h3>Now</h3>
        {running ? <Steps turn={running} /> : <p class="hint">No turn is running.</p>}
      </section>
      <section>
        <h3>Turns</h3>
        <ol class="turns">
          {world.turns
            .filter((t) => t.state !== 'claimed')
            .slice(0, 5)
            .map((t) => (
              <li key={t.turn}>
                <details>
                  <summary>
                    Turn {t.turn}: {t.outcome ? (outcomes[t.outcome] ?? t.outcome) : t.state}
                    {t.losses > 0 && <b class="lost"> · outlived {t.losses} lost worker{t.losses > 1 ? 's' : ''}</b>}
                    <small> · {t.steps.length} steps</small>
                  </summary>
                  <Steps turn={t} />
                </details>
              </li>
            ))}
        </ol>
      </section>
      <section>
        <h3>Owners</h3>
        <ol class="owners">
          {world.ownership.map((o) => (
            <li key={o.epoch}>
              <b>Epoch {o.epoch}</b> {named(names, o.owner)} <span class="hint">{reasons[o.reason] ?? o.reason}, {clock(o.at)}</span>
            </li>
          ))}
        </ol>
      </section>
      <section>
        <h3>What it remembers</h3>
        <ol class="memory">
          {world.messages.slice(0, 8).map((m) => (
            <li key={m.seq}>
              <small>
                {m.seq} · {channels[m.channel]} · {m.by}
                {m.disposition === 'held' && ' · held for a person'}
              </small>
              <span>{m.text}</span>
            </li>
          ))}
        </ol>
      </section>
    </div>
  )
}

function Fact({ name, value, strong, title }: { name: string; value: string | number; strong?: boolean; title?: string }) {
  return (
    <div>
      <dt title={title}>{name}</dt>
      <dd class={strong ? 'strong' : ''}>{value}</dd>
    </div>
  )
}

/** A turn's journal: what is written there is never done twice. */
function Steps({ turn }: { turn: Turn }) {
  const running = turn.state === 'claimed'
  return (
    <div class="steps">
      {running && <p class="hint">Turn {turn.turn}; each step is in Postgres before the next begins.</p>}
      <ol>
        {turn.steps.map((s) => (
          <li key={s.step} class={s.kind}>
            {label(s)}
          </li>
        ))}
        {running && <li class="thinking-step">thinking…</li>}
      </ol>
    </div>
  )
}

export function clock(at: string): string {
  return new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' })
}
