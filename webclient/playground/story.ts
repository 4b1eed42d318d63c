import { ticket } from '../form/edge.ts'
import { pause, Problem } from '../shared/http.ts'
import type { Api, Line, Member, Outcome, Signal, Step, Turn } from './api.ts'
import { first, questions, ways, type Channel, type Person } from './people.ts'
import type { Written } from './vendors.ts'
import { ending, find } from './world.ts'

/** A sentence of the story, told when it was observed. */
export interface Told {
  at: number // ms since the blow; before it, negative or zero
  text: string
  tone: 'plain' | 'blow' | 'good'
}

/** What it comes down to. */
export interface Score {
  took?: string
  after?: number // ms from the blow to the first look that showed the new owner
  epochs?: [number, number]
  kept?: [number, number] // steps of the journal at the blow: still there as they were, of how many
  answers?: number
}

export interface Teller {
  tell(t: Told): void
  score(s: Score): void
}

/** How long each step of thinking takes meanwhile: time enough to do harm. */
const slow = '2s'

class Untold extends Error {}

/**
 * Has a customer ask, waits until the owner's turn has a step in the journal,
 * then kills (KILL) or freezes (STOP) that worker, and tells what is observed:
 * everything said here was read from the operator API and the vendor's own list.
 */
export async function story(
  how: Signal & ('KILL' | 'STOP'),
  { api, person, channel, write }: { api: Api; person: Person; channel: Channel; write(text: string): Promise<Written> },
  to: Teller,
): Promise<void> {
  const began = performance.now()
  let blow = Infinity
  const since = () => performance.now() - (blow === Infinity ? performance.now() : blow)
  const tell = (text: string, tone: Told['tone'] = 'plain') => to.tell({ at: since(), text, tone })
  const who = first(person)
  const before = await api.thinking()
  let frozen = ''
  try {
    const held = await find(api, { person, channel })
    if (held && held.mode !== 'bot') throw new Untold(`${who} is with a person just now. Release ${who} first, so that the agent answers.`)
    await api.think(slow)
    const question = questions[Math.floor(began) % questions.length]!
    tell(`${who} asks ${ways[channel].by}: “${question}” Each step of thinking is slowed down to ${slow.replace('s', ' s')}, so that there is time to do harm.`)
    const mark = (await api.sent(0)).at(-1)?.n ?? 0
    const written = await write(question)
    const stored = await until('the message to be stored', () => perhaps(api.outcome(channel, written.external_id)))
    tell(`The message is accepted, and ${who}’s actor has stored it: from here on it cannot get lost.`)

    const running = await until('the turn to have a step', async () => {
      const turn = turnOf(await api.turns(stored.customer_id), stored)
      if (turn && turn.state !== 'claimed') throw new Untold('The answer was there before anything could be done to its worker. Try again.')
      return turn?.steps.length ? turn : undefined
    })
    const owned = (await api.line(stored.customer_id))!
    const victim = named(await api.members(), owned.owner)
    tell(`${victim.name} owns ${who} (epoch ${owned.epoch}) and works on turn ${running.turn}. In the journal so far: ${steps(running.steps)}.`)

    const signalled = await api.signal(victim.name, how)
    blow = performance.now()
    if (how === 'STOP') frozen = victim.name
    tell(
      how === 'KILL'
        ? `SIGKILL to ${victim.name}, process ${signalled.pid}, in the middle of a thought. It gets no chance to tidy up.`
        : `SIGSTOP to ${victim.name}, process ${signalled.pid}. It does not die: it stands still, and still believes that it owns ${who}.`,
      'blow',
    )

    const left = await until('the journal', async () => turnOf(await api.turns(stored.customer_id), stored)) // as the blow left it
    const [taken] = await Promise.all([takeOver(api, owned, stored), death(api, victim, tell, since)])
    if (!taken) throw new Untold(`The answer was committed just before the blow fell, so nobody had to take ${who} over. Try again.`)
    const heir = named(await api.members(), taken.line.owner)
    const after = Math.round(taken.seen - blow)
    to.score({ took: heir.name, after, epochs: [owned.epoch, taken.line.epoch] })
    tell(`${heir.name} has taken ${who} over, ${seconds(after)} after the blow: epoch ${owned.epoch} → ${taken.line.epoch}. Whatever ${victim.name} might still try to write for ${who} is refused.`, 'good')

    const ended = await until('the turn to end', async () => {
      const turn = turnOf(await api.turns(stored.customer_id), stored)
      return turn && turn.state !== 'claimed' ? turn : undefined
    })
    const had = left.steps.length
    const kept = left.steps.filter((s, i) => same(s, ended.steps[i])).length
    to.score({ kept: [kept, had] })
    tell(
      (ended.turn === left.turn ? `Turn ${ended.turn} went on where it was. ` : `Turn ${ended.turn} began anew. `) +
        `Of the ${count(had, 'step')} from before the blow, ${kept === had ? 'all' : kept} stand in its journal as they were` +
        (ended.steps.length > had ? `; ${heir.name} added ${steps(ended.steps.slice(had))}.` : '.'),
    )

    await until('the answer', async () => ((await answers(api, channel, mark, written)) > 0 ? true : undefined))
    tell(`The answer is with ${who}, ${seconds(since())} after the blow.`, 'good')
    if (how === 'STOP') {
      await api.signal(frozen, 'CONT')
      frozen = ''
      tell(`SIGCONT: ${victim.name} wakes up and goes on as if nothing had happened, in the middle of the same thought.`, 'blow')
    }
    const again = async () => (await api.members()).find((m) => m.name === victim.name && m.generation > victim.generation && m.state === 'active')
    const back = await until('it to be back', again, 20_000).catch(() => undefined) // fte dev may have been told to leave the dead alone
    tell(
      back
        ? (how === 'STOP' ? `${victim.name} found that it had been declared dead, and ended itself. ` : '') + `${how === 'STOP' ? 'It' : victim.name} is back as generation ${back.generation}, ready to own customers again.`
        : `${victim.name} has not come back.`,
    )
    await pause(1_500) // a second answer would have come by now
    const n = await answers(api, channel, mark, written)
    to.score({ answers: n })
    tell(`Counted ${ways[channel].list}: ${n === 1 ? 'one answer. Once.' : `${n} answers!`}`, n === 1 ? 'good' : 'blow')
  } catch (err) {
    if (!(err instanceof Untold)) throw err
    tell(err.message)
  } finally {
    if (frozen) await api.signal(frozen, 'CONT').catch(() => undefined)
    await api.think(before).catch(() => undefined)
  }
}

/** Waits until another owner is seen; undefined when the turn ended without one. */
async function takeOver(api: Api, owned: Line, stored: Outcome): Promise<{ line: Line; seen: number } | undefined> {
  const found = await until('somebody to take over', async () => {
    const line = await api.line(owned.id)
    if (line && line.epoch > owned.epoch) return { line, seen: performance.now() }
    const turn = turnOf(await api.turns(owned.id), stored)
    return turn && turn.state !== 'claimed' ? 'over' : undefined
  })
  return found === 'over' ? undefined : found
}

async function death(api: Api, victim: Member, tell: (text: string) => void, since: () => number): Promise<void> {
  const gone = await until('the others to notice', async () => (await api.members()).find((m) => m.system_id === victim.system_id && m.state === 'dead'))
  tell(`The other members have declared ${victim.name} dead, ${seconds(since())} after the blow: ${ending(gone)}.`)
}

/** How many answers to the message the customer got, by the vendor's count. */
async function answers(api: Api, channel: Channel, mark: number, written: Written): Promise<number> {
  if (channel === 'webform') {
    const thread = written.opened ? (await ticket.read(written.opened)).messages : []
    return thread.filter((m) => m.by !== 'customer').length
  }
  const reply = (await api.outcome(channel, written.external_id)).reply
  return reply ? (await api.sent(mark)).filter((s) => s.key === reply.key).length : 0
}

/** A step that is still what it was. */
const same = (a: Step, b?: Step) => b !== undefined && a.step === b.step && a.kind === b.kind && a.name === b.name && a.at === b.at && a.epoch === b.epoch

/** Looks ten times a second; a request that fails on the way is asked again. */
async function until<T>(what: string, look: () => Promise<T | undefined>, within = 90_000): Promise<T> {
  const giveUp = performance.now() + within
  for (;;) {
    try {
      const found = await look()
      if (found !== undefined) return found
    } catch (err) {
      if (!(err instanceof Problem && err.passing)) throw err
    }
    if (performance.now() > giveUp) throw new Untold(`Waited ${within / 1000} s for ${what}, in vain. The logs say why.`)
    await pause(100)
  }
}

/** Nothing yet is no failure. */
const perhaps = <T>(p: Promise<T>): Promise<T | undefined> =>
  p.catch((err: unknown) => {
    if (err instanceof Problem && err.status === 404) return undefined
    throw err
  })

const turnOf = (turns: Turn[], stored: Outcome) =>
  turns.filter((t) => t.inputs.includes(stored.seq) && t.state !== 'superseded').sort((a, b) => b.turn - a.turn)[0]

function named(members: Member[], systemId: string | null): Member {
  const m = members.find((m) => m.system_id === systemId)
  if (!m) throw new Untold('The owner is no member any more. Try again.')
  return m
}

const count = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`
const steps = (list: Step[]) => `${count(list.length, 'step')} (${list.map(label).join(', ')})`
export const label = (s: Step) => (s.kind === 'model' ? 'thought' : s.name)
export const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`
