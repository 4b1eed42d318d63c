import { useEffect, useState } from 'preact/hooks'
import type { Api } from './api.ts'
import type { Person } from './people.ts'

interface ChoiceProps {
  name: string
  options: Record<string, string>
  value: string
  onChoose(value: string): void
}

/** A row of which one is chosen; arrow keys move, as in any radio group. */
export function Choice({ name, options, value, onChoose }: ChoiceProps) {
  return (
    <fieldset class="choice">
      <legend class="unseen">{name}</legend>
      {Object.entries(options).map(([id, label]) => (
        <label key={id}>
          <input type="radio" name={name} value={id} checked={id === value} onChange={() => onChoose(id)} />
          <span>{label}</span>
        </label>
      ))}
    </fieldset>
  )
}

/** Who a customer of one's own is. */
export function Identity({ person, onChange }: { person: Person; onChange(p: Person): void }) {
  const set = (key: 'name' | 'email' | 'phone') => (e: { currentTarget: HTMLInputElement }) => {
    if (e.currentTarget.checkValidity()) onChange({ ...person, [key]: e.currentTarget.value.trim() })
  }
  return (
    <div class="identity">
      <label>
        Name <input value={person.name} required minLength={2} onChange={set('name')} />
      </label>
      <label>
        E-mail <input type="email" value={person.email} required onChange={set('email')} />
      </label>
      <label>
        Phone <input type="tel" value={person.phone} required pattern="\+[0-9]{8,15}" onChange={set('phone')} />
      </label>
    </div>
  )
}

const paces: Record<string, string> = { '0s': 'as fast as it can', '1s': '1 second a step', '3s': '3 seconds a step' }

/** How fast the agent thinks: slow enough to watch, if one likes. */
export function Pace({ api }: { api: Api }) {
  const [pace, setPace] = useState('0s')
  useEffect(() => {
    api.thinking().then(setPace, () => undefined)
  }, [])
  return (
    <p class="row pace">
      <label for="pace">The agent thinks</label>
      <select
        id="pace"
        value={pace}
        onChange={(e) => {
          setPace(e.currentTarget.value)
          api.think(e.currentTarget.value).catch(() => undefined)
        }}
      >
        {Object.entries({ ...(pace in paces ? {} : { [pace]: pace }), ...paces }).map(([value, label]) => (
          <option value={value}>{label}</option>
        ))}
      </select>
    </p>
  )
}
