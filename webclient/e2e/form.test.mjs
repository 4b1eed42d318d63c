// The support form in a browser, against a running program: by keyboard alone.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { dev, launch, open, operator, picture, until, violations } from './browser.mjs'

let browser
before(async () => (browser = await launch()))
after(async () => browser.close())

const address = `${dev.http}/support`
const somebody = () => `form-${crypto.randomUUID().slice(0, 8)}@example.com`

/** Presses Tab until a control has the focus, as a person without a mouse would. */
async function tabTo(page, name) {
  for (let i = 0; i < 40; i++) {
    if (await page.evaluate((n) => [document.activeElement?.name, document.activeElement?.textContent?.trim()].includes(n), name)) return
    await page.keyboard.press('Tab')
  }
  assert.fail(`the keyboard does not reach ${name}`)
}

async function type(page, name, text) {
  await tabTo(page, name)
  await page.keyboard.type(text)
}

/** Fills in everything that is required and sends it. */
async function send(page, { email = somebody(), message = 'How do I reset my password? I cannot log in any more.' } = {}) {
  await type(page, 'name', 'Kim Keys')
  await type(page, 'email', email)
  await type(page, 'subject', 'Logging in')
  await type(page, 'category', 'Tech')
  await type(page, 'message', message)
  await tabTo(page, 'Send')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'We have your message' }).waitFor()
}

const answer = (page) => page.locator('.said.agent p').first()

test('what is wrong is said beside its field, and the first of them has the focus', async () => {
  const page = await open(browser, address)
  assert.deepEqual(await violations(page), [])
  await tabTo(page, 'Send')
  await page.keyboard.press('Enter')
  await page.getByText('5 fields need another look.').waitFor()
  await page.waitForFunction(() => document.activeElement?.name === 'name')
  for (const name of ['name', 'email', 'subject', 'category', 'message']) {
    const control = page.locator(`[name="${name}"]`)
    assert.equal(await control.getAttribute('aria-invalid'), 'true', name)
    const said = (await control.getAttribute('aria-describedby')).split(' ')[0]
    assert.notEqual(await page.locator(`#${said}`).innerText(), '', name)
  }
  assert.equal(await page.locator('[name="phone"]').getAttribute('aria-invalid'), null, 'an optional field may stay empty')
  assert.deepEqual(await violations(page), [])
  await picture(page, 'form-errors')
  await type(page, 'name', 'Kim')
  assert.equal(await page.locator('[name="name"]').getAttribute('aria-invalid'), null, 'a mended field is not complained about')
  assert.deepEqual(page.faults, [])
})

test('the counter follows the message, over the limit as well', async () => {
  const page = await open(browser, address)
  const message = page.getByLabel('Message')
  await message.fill('x'.repeat(5000))
  await page.getByText('5,000 of 5,000 characters').waitFor()
  await message.fill('😀'.repeat(5001))
  await page.getByText('5,001 of 5,000 characters').waitFor()
  await page.getByRole('button', { name: 'Send' }).click()
  await page.getByText('Shorten the message by 1 characters.').waitFor()
})

test('files are refused that are too many, too large or of another kind', async () => {
  const page = await open(browser, address)
  const file = (name, size = 10) => ({ name, mimeType: 'application/octet-stream', buffer: Buffer.alloc(size, 'x') })
  const files = page.getByLabel('Attachments')
  await files.setInputFiles([file('run.exe')])
  await page.getByText('is not a PNG, JPEG, WebP, PDF or text file').waitFor()
  await page.getByRole('button', { name: 'Remove run.exe' }).click()
  await files.setInputFiles([file('a.txt', 5 * 2 ** 20 + 1)])
  await page.getByText('is larger than 5 MB').waitFor()
  await page.getByRole('button', { name: 'Remove a.txt' }).click()
  await files.setInputFiles([1, 2, 3, 4].map((n) => file(`${n}.txt`)))
  await page.getByText('Attach at most 3 files.').waitFor()
  assert.deepEqual(await violations(page), [])
})

test('by keyboard alone: form, reference, live answer; a reload shows it again', async () => {
  const page = await open(browser, address)
  const streams = []
  page.on('request', (r) => r.url().endsWith('/events') && streams.push(r.headers()))
  await send(page)
  assert.match(await page.locator('.reference').innerText(), /^T-[0-9A-HJKMNP-TV-Z]{12}$/)
  await page.waitForFunction(() => document.activeElement?.textContent === 'We have your message')
  assert.deepEqual(await violations(page), [])
  await answer(page).waitFor()
  assert.ok(streams.length > 0 && streams[0].authorization?.startsWith('Bearer '), 'the answer came by a stream that proves who listens')
  assert.equal(await page.locator('.said.agent').count(), 1)
  await page.getByText('Status: Answered').waitFor()
  assert.deepEqual(await violations(page), [])
  await picture(page, 'form-answered')
  const said = await answer(page).innerText()
  await page.reload()
  await answer(page).waitFor()
  assert.equal(await answer(page).innerText(), said)

  // Without what the tab remembers, the address's fragment alone shows it.
  const other = await open(browser, page.url())
  await answer(other).waitFor()
  await tabTo(page, 'Send another message')
  await page.keyboard.press('Enter')
  await page.getByLabel('Subject').waitFor()
  assert.equal(new URL(page.url()).hash, '')
  assert.deepEqual(page.faults, [])
})

test('what was written stays text', async () => {
  const page = await open(browser, address)
  const message = 'Look: <img src=x onerror=alert(1)> <script>alert(2)</script> <a href="javascript:alert(3)">here</a>'
  await send(page, { message })
  await page.locator('.said.customer').waitFor()
  assert.equal(await page.locator('.said.customer p').innerText(), message)
  assert.equal(await page.locator('.thread :is(img, script, a)').count(), 0)
  assert.deepEqual(page.faults, [])
})

test('one submission is one ticket, however often its answer is lost', async () => {
  const page = await open(browser, address)
  const keys = []
  let lost = 0
  await page.route('**/support/submit', async (route) => {
    keys.push(route.request().headers()['idempotency-key'])
    const response = await route.fetch() // the server has it
    if (lost++ === 0) return route.abort('connectionreset') // and we do not know
    return route.fulfill({ response })
  })
  await page.getByLabel('Name').fill('Kim Keys')
  await page.getByLabel('E-mail').fill(somebody())
  await page.getByLabel('Subject').fill('Logging in')
  await page.getByLabel('Category').selectOption('technical')
  await page.getByLabel('Message').fill('How do I reset my password, please?')
  await page.getByRole('button', { name: 'Send' }).click()
  await page.getByText('What you wrote is still here').waitFor()
  await page.getByRole('button', { name: 'Send' }).click()
  await page.getByRole('heading', { name: 'We have your message' }).waitFor()
  assert.equal(keys.length, 2)
  assert.equal(keys[0], keys[1])
  await answer(page).waitFor()
  assert.equal(await page.locator('.said.customer').count(), 1)
  assert.equal(await page.locator('.said.agent').count(), 1)
})

test('the API process is killed while the customer waits: the answer comes all the same', async (t) => {
  await operator('/_dev/think', { method: 'PUT', body: { delay: '3s' } })
  t.after(() => until('the model to be fast again', () => operator('/_dev/think', { method: 'PUT', body: { delay: '0s' } }).then(() => true)))
  const page = await open(browser, address)
  await send(page)
  await page.getByText('Live:').waitFor()
  assert.equal(await page.locator('.said.agent').count(), 0, 'there is no answer yet')
  await operator('/_dev/members/api-1/kill', { method: 'POST', body: { signal: 'KILL' } }).catch(() => undefined) // it kills itself
  await page.getByText('Nothing is lost; this page keeps asking.').waitFor()
  await picture(page, 'form-api-away')
  await answer(page).waitFor({ timeout: 60_000 })
  assert.equal(await page.locator('.said.agent').count(), 1)
  await page.getByText('Live:').waitFor({ timeout: 60_000 })
})

test('a code proves the address, and only then is the way to WhatsApp shown', async () => {
  const email = somebody()
  const page = await open(browser, address)
  await send(page, { email })
  await answer(page).waitFor()
  assert.equal(await page.getByRole('link', { name: 'Continue on WhatsApp' }).count(), 0)
  await tabTo(page, 'Verify my e-mail')
  await page.keyboard.press('Enter')
  await page.waitForFunction(() => document.activeElement?.name === 'code')
  assert.deepEqual(await violations(page), [])
  const mail = await until('the code in the mailbox', async () => (await operator('/_dev/sim/sent?channel=email')).findLast((m) => m.to.includes(email)))
  const code = /\b\d{6}\b/.exec(mail.text)[0]
  const wrong = String((Number(code) + 1) % 1_000_000).padStart(6, '0')
  await page.keyboard.type(wrong)
  await page.keyboard.press('Enter')
  await page.locator('#verify-error').waitFor()
  assert.equal(await page.getByRole('link', { name: 'Continue on WhatsApp' }).count(), 0)
  await page.locator('#verify-code').fill(code)
  await page.keyboard.press('Enter')
  await page.getByText('Your e-mail address is verified.').waitFor()
  await page.getByRole('link', { name: 'Continue on WhatsApp' }).waitFor()
  assert.deepEqual(await violations(page), [])
  await picture(page, 'form-verified')
})

for (const [name, options] of Object.entries({
  'on a phone': { viewport: { width: 320, height: 640 } },
  'in the dark': { colorScheme: 'dark' },
})) {
  test(`readable ${name}`, async () => {
    const page = await open(browser, address, options)
    await page.getByRole('button', { name: 'Send' }).click()
    await page.getByText('fields need another look').waitFor()
    assert.deepEqual(await violations(page), [])
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing is wider than the window')
    await picture(page, `form ${name}`)
  })
}
