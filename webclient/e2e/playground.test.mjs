// The playground in a browser, against a running program.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { dev, launch, open, operator, picture, until, violations } from './browser.mjs'

let browser
before(async () => (browser = await launch()))
after(async () => browser.close())

let guests = 0

/** A page on which somebody new, whom the program has never seen, is the customer. */
async function newcomer(channel, options) {
  const page = await open(browser, dev.http, options)
  const id = `${Date.now()}`.slice(-6) + guests++
  await page.getByRole('radio', { name: 'You' }).check()
  await page.getByLabel('Name', { exact: true }).first().fill('Gale Guest')
  await page.locator('.identity input[type=email]').fill(`guest-${id}@example.com`)
  await page.locator('.identity input[type=tel]').fill(`+1202555${id.slice(-4)}`)
  await page.getByRole('radio', { name: channel, exact: true }).check()
  page.who = { email: `guest-${id}@example.com`, phone: `+1202555${id.slice(-4)}` }
  return page
}

const theirs = (page) => page.locator('.bubble:not(.own)')

async function say(page, text) {
  await page.getByLabel('Message from Gale').fill(text)
  await page.keyboard.press('Enter')
}

test('WhatsApp: written, accepted, stored, answered, and the actor seen at it', async () => {
  const page = await newcomer('WhatsApp')
  await page.getByText('No actor yet').waitFor()
  await say(page, 'Hello, how do I reset my password? It said 1 < 2 & <3')
  await page.locator('.bubble.own .t3').waitFor()
  await theirs(page).waitFor()
  assert.equal(await theirs(page).count(), 1)
  assert.ok((await theirs(page).locator('span').first().innerText()).length <= 300)
  assert.match(await page.locator('.bubble.own').innerText(), /1 < 2 & <3/, 'text is text')
  await page.getByText('Turn 1: answered').click()
  await page.locator('.turns').getByText('send_response').waitFor()
  const owner = await page.locator('.facts .strong').innerText()
  assert.equal(await page.locator('.member.owner strong').innerText(), owner, 'the owner is marked among the workers')
  await page.getByText('Epoch 1').waitFor()
  assert.deepEqual(await violations(page), [])
  assert.deepEqual(page.faults, [])
})

test('e-mail: the answer stands in the thread, with the headers that put it there', async () => {
  const page = await newcomer('E-mail')
  await page.getByLabel('Subject').fill('Exporting boards')
  await page.getByLabel('Gale writes').fill('Hello,\n\nhow do I export my boards?\n\nGale')
  await page.getByRole('button', { name: 'Send mail' }).click()
  const answer = page.locator('.mail:not(.own)').first()
  await answer.waitFor({ timeout: 60_000 })
  const id = await page.locator('.mail.own dt:text-is("Message-ID") + dd').first().innerText()
  assert.match(id, /^<.+@.+>$/)
  const header = (name) => answer.locator(`dt:text-is("${name}") + dd`).innerText()
  assert.equal(await header('In-Reply-To'), id)
  assert.ok((await header('References')).includes(id))
  assert.match(await header('Subject'), /^Re: Exporting boards/)
  assert.equal(await page.locator('.mail-thread').count(), 1, 'one thread')
  await page.waitForTimeout(1_500) // to read it; Gmail notifies of one mail a second, and others wait to be looked for
  await page.getByLabel('Gale replies').fill('Thank you. And how do I connect Slack?')
  await page.getByRole('button', { name: 'Send mail' }).click()
  await until('the second answer', async () => (await page.locator('.mail:not(.own)').count()) === 2)
  assert.equal(await page.locator('.mail-thread').count(), 1, 'still one thread')
  assert.deepEqual(await violations(page), [])
  await picture(page, 'playground-mail')
})

test('web form: sent and answered in its ticket', async () => {
  const page = await newcomer('Web form')
  const form = page.locator('.web')
  await form.getByLabel('Subject').fill('Two factors')
  await form.getByLabel('Message').fill('How do I turn on two-factor authentication?')
  await form.getByRole('button', { name: 'Send' }).click()
  await page.locator('.said.agent').waitFor({ timeout: 60_000 })
  assert.equal(await page.locator('.said.agent').count(), 1)
  assert.deepEqual(await violations(page), [])
  await picture(page, 'playground-form')
})

const kill = 'Kill the worker that is answering'
for (const [name, channel, button] of [
  ['killed, on WhatsApp', 'WhatsApp', kill],
  ['killed, by e-mail', 'E-mail', kill],
  ['killed, in the form', 'Web form', kill],
  ['frozen', 'WhatsApp', 'Freeze it instead'],
]) {
  test(`the worker that answers is ${name}: another goes on, and the answer comes once`, async () => {
    const page = await newcomer(channel)
    await page.getByRole('button', { name: button }).focus()
    await page.keyboard.press('Enter')
    await page.locator('.story .blow').first().waitFor({ timeout: 60_000 })
    await picture(page, `playground ${name}, now`)
    await page.locator('.havoc[aria-busy=false]').waitFor({ timeout: 120_000 })
    const mark = (what) => page.locator(`.score dt:text-is("${what}") + dd`).innerText()
    assert.match(await mark('Taken over by'), /^worker-\d$/)
    assert.equal(await mark('Epoch'), '1 → 2')
    const [kept, had] = (await mark('Steps kept')).split(' of ').map(Number)
    assert.ok(kept >= 1 && kept === had, 'the journal was kept')
    assert.equal(await mark('Answers'), '1')
    await page.getByText('one answer. Once.').waitFor()
    await page.getByText('outlived 1 lost worker').waitFor()
    if (channel === 'Web form') {
      assert.equal(await page.locator('.said.agent').count(), 1)
    } else {
      const to = channel === 'WhatsApp' ? `whatsapp:${page.who.phone}` : page.who.email
      assert.equal((await operator('/_dev/sim/sent')).filter((s) => s.to === to).length, 1, 'the vendor delivered one message')
    }
    assert.equal((await operator('/_dev/think')).delay, '0s', 'the model is as fast as before')
    assert.deepEqual(await violations(page), [])
    await picture(page, `playground ${name}`)
  })
}

test('a person takes over, takes a reply back, replies, and gives the customer back', async () => {
  const page = await newcomer('WhatsApp')
  await say(page, 'How do I reset my password?')
  await theirs(page).waitFor()
  await page.getByRole('button', { name: 'Take over from the agent' }).click()
  await page.getByText('a person answers').waitFor()
  await say(page, 'Are you a person?')
  await page.locator('.bubble.own .t3').nth(1).waitFor()
  await page.locator('.memory').getByText('held for a person').waitFor()

  const reply = page.getByLabel('Answer Gale on WhatsApp as Dana')
  await reply.fill('This one is taken back.')
  await page.getByRole('button', { name: 'Send reply' }).click()
  await page.getByRole('button', { name: /^Undo/ }).click()
  await page.getByText('Taken back: nothing was sent.').waitFor()
  await reply.fill('Yes, I am Dana.')
  await page.getByRole('button', { name: 'Send reply' }).click()
  assert.deepEqual(await violations(page), [])
  await picture(page, 'playground-person')
  await theirs(page).getByText('Yes, I am Dana.').waitFor()
  assert.equal(await theirs(page).getByText('This one is taken back.').count(), 0)

  await say(page, 'How do I connect Slack?')
  await page.locator('.bubble.own .t3').nth(2).waitFor()
  await page.getByRole('button', { name: 'Release, answer what waited' }).click()
  await page.getByText('the agent answers').waitFor()
  await theirs(page).nth(2).waitFor()
  assert.match(await theirs(page).nth(2).innerText(), /Slack/)
})

test('by keyboard: who writes, where, and what', async () => {
  const page = await open(browser, dev.http)
  await page.getByRole('radio', { name: 'Ana Silva' }).focus()
  await page.keyboard.press('ArrowRight')
  await page.getByRole('heading', { name: 'Ben’s actor' }).waitFor()
  assert.ok(await page.getByRole('radio', { name: 'Web form' }).isChecked(), 'Ben usually uses the form')
  await page.getByRole('radio', { name: 'Web form' }).focus()
  await page.keyboard.press('ArrowLeft')
  await page.getByLabel('Ben writes').or(page.getByLabel('Ben replies')).waitFor()
  await page.keyboard.press('ArrowLeft')
  await page.getByLabel('Message from Ben').focus()
  await page.keyboard.type('How do I reset my password?')
  const before = await theirs(page).count()
  await page.keyboard.press('Enter')
  await theirs(page).nth(before).waitFor()
})

for (const [name, options] of Object.entries({
  'on a phone': { viewport: { width: 400, height: 800 } },
  'in the dark': { colorScheme: 'dark' },
})) {
  test(`readable ${name}`, async () => {
    const page = await newcomer('WhatsApp', options)
    await say(page, 'How do I reset my password?')
    await theirs(page).waitFor()
    assert.deepEqual(await violations(page), [])
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing is wider than the window')
    await picture(page, `playground ${name}`)
  })
}
