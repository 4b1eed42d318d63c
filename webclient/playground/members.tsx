import type { Api, Member, Signal } from './api.ts'
import { ending, isApi, type World } from './world.ts'

interface Props {
  api: Api
  world: World
  who: string
  onError(text: string): void
}

/** The processes of the cluster, the owner of the customer in view marked. */
export function Members({ api, world, who, onError }: Props) {
  return (
    <ul class="members">
      {world.members.map((m) => (
        <Box key={m.name} member={m} owns={world.customer?.owner === m.system_id && m.state === 'active' ? who : ''} signal={(s) => api.signal(m.name, s).catch((e) => onError(String(e.message)))} />
      ))}
    </ul>
  )
}

const inMemory = (n: number | null) => (n === null ? 'a worker' : n === 1 ? '1 customer in memory' : `${n} customers in memory`)

/** Silence after which a member is shown as such; it beats twice a second. */
const silent = 1_500

function Box({ member: m, owns, signal }: { member: Member; owns: string; signal(s: Signal): void }) {
  const up = m.state === 'active'
  const quiet = up && m.heartbeat_age_ms > silent
  return (
    <li class={`member ${m.state} ${owns ? 'owner' : ''} ${quiet ? 'quiet' : ''}`} data-member={m.name}>
      <header>
        <strong>{m.name}</strong>
        <span class="state">{quiet ? `silent for ${(m.heartbeat_age_ms / 1000).toFixed(0)} s` : m.state}</span>
      </header>
      <p>
        {isApi(m) ? 'answers HTTP' : up ? inMemory(m.active_customers) : ending(m)} <small class="generation">generation {m.generation}</small>
      </p>
      {owns && <p class="owns">owns {owns}</p>}
      <div class="row signals">
        <button type="button" disabled={!up} aria-label={`Kill ${m.name}`} onClick={() => signal('KILL')}>
          Kill
        </button>
        {up && !quiet ? (
          <button type="button" aria-label={`Freeze ${m.name}`} onClick={() => signal('STOP')}>
            Freeze
          </button>
        ) : (
          <button type="button" aria-label={`Wake ${m.name}`} onClick={() => signal('CONT')}>
            Wake
          </button>
        )}
      </div>
    </li>
  )
}
