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

/** Who a customer of one's own is. What is typed counts once it is whole. */
export function Identity({ person, onChange }: { person: Person; onChange(change: Partial<Person>): void }) {
  const [draft, setDraft] = useState(person)
  const bind = (key: 'name' | 'email' | 'phone', type = 'text') => ({
    type: type as 'text', // the type whose attributes all of them have
    value: draft[key],
    required: true,
    onInput: ({ currentTarget: input }: { currentTarget: HTMLInputElement }) => {
      const value = input.value
      setDraft((d) => ({ ...d, [key]: value }))
      if (input.checkValidity()) onChange({ [key]: value.trim() })
    },
  })
  return (
    <div class="identity">
      <label>
        Name <input {...bind('name')} minLength={2} />
      </label>
      <label>
        E-mail <input {...bind('email', 'email')} />
      </label>
      <label>
        Phone <input {...bind('phone', 'tel')} pattern="\+[0-9]{8,15}" />
      </label>
    </div>
  )
}

const paces: Record<string, string> = { '0s': 'as fast as it can', '1s': '1 second a step', '2s': '2 seconds a step', '4s': '4 seconds a step' }

/** How fast the agent thinks: slow enough to watch, if one likes. */
export function Pace({ api }: { api: Api }) {
  const [pace, setPace] = useState('0s')
  useEffect(() => {
    const look = () => void api.thinking().then(setPace, () => undefined)
    look()
    const again = setInterval(look, 2_000) // the story slows it too
    return () => clearInterval(again)
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
