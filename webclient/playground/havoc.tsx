import { useEffect, useRef, useState } from 'preact/hooks'
import { seconds, story, type Score, type Told } from './story.ts'
import type { Api } from './api.ts'
import { first, ways, type Channel, type Person } from './people.ts'
import type { Written } from './vendors.ts'

interface Props {
  api: Api
  person: Person
  channel: Channel
  write(text: string): Promise<Written>
}

/** The big button, and the story of what came of it. */
export function Havoc({ api, person, channel, write }: Props) {
  const [told, setTold] = useState<Told[]>([])
  const [score, setScore] = useState<Score>({})
  const [running, setRunning] = useState<'KILL' | 'STOP'>()
  const end = useRef<HTMLDivElement>(null)
  useEffect(() => end.current?.scrollTo({ top: end.current.scrollHeight }), [told.length])

  const begin = async (how: 'KILL' | 'STOP') => {
    if (running) return
    setRunning(how)
    setTold([])
    setScore({})
    try {
      await story(how, { api, person, channel, write }, { tell: (t) => setTold((all) => [...all, t]), score: (s) => setScore((all) => ({ ...all, ...s })) })
    } catch (err) {
      setTold((all) => [...all, { at: 0, tone: 'blow', text: err instanceof Error ? err.message : String(err) }])
    } finally {
      setRunning(undefined)
    }
  }

  return (
    <section class="havoc" aria-labelledby="havoc-heading" aria-busy={running !== undefined}>
      <div class="dare">
        <h2 id="havoc-heading">Go on, break it</h2>
        <p>
          {first(person)} asks a question {ways[channel].by}. In the middle of answering, the process that answers is destroyed. Watch what {first(person)} notices of it.
        </p>
        <div class="row">
          <button type="button" class="danger big" aria-disabled={running !== undefined} onClick={() => begin('KILL')}>
            Kill the worker that is answering
          </button>
          <button type="button" class="big" aria-disabled={running !== undefined} onClick={() => begin('STOP')}>
            Freeze it instead
          </button>
        </div>
        {score.took && (
          <dl class="score" aria-label="Result">
            <Mark name="Taken over by" value={score.took} />
            <Mark name="after" value={seconds(score.after!)} />
            <Mark name="Epoch" value={`${score.epochs![0]} → ${score.epochs![1]}`} />
            <Mark name="Steps kept" value={score.kept ? `${score.kept[0]} of ${score.kept[1]}` : '…'} good={score.kept && score.kept[0] === score.kept[1]} />
            <Mark name="Answers" value={score.answers ?? '…'} good={score.answers === 1} />
          </dl>
        )}
      </div>
      {told.length > 0 ? (
        <div class="story" ref={end} role="log" aria-label="What happens" tabIndex={0}>
          <ol>
          {told.map((t, i) => (
            <li key={i} class={t.tone}>
              <span class="when">{t.at > 0 ? `+${seconds(t.at)}` : ''}</span>
              <span>{t.text}</span>
            </li>
          ))}
          {running && (
            <li class="waiting" aria-hidden="true">
              <span class="when" />
              <span class="thinking">
                <i /> <i /> <i />
              </span>
            </li>
          )}
          </ol>
        </div>
      ) : (
        <ol class="plan">
          <li>{first(person)}’s question reaches one worker, which begins to think. Each step it takes is written down before the next.</li>
          <li>With a step or two written down, that worker gets SIGKILL. Nothing is saved, nobody is told.</li>
          <li>The others find out by themselves. One of them picks the thought up where it was written down, and answers.</li>
          <li>You see who, how fast, and how many answers {first(person)} got.</li>
        </ol>
      )}
    </section>
  )
}

function Mark({ name, value, good }: { name: string; value: string | number; good?: boolean | undefined }) {
  return (
    <div class={good ? 'good' : ''}>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  )
}
