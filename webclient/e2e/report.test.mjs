// The report of a chaos run, opened from disk: no program runs.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { chromium } from 'playwright-core'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
let browser, reports

before(async () => {
  reports = mkdtempSync(path.join(tmpdir(), 'fte-reports-'))
  execFileSync('go', ['test', '-count=1', './chaos/report'], {
    cwd: path.join(import.meta.dirname, '../..'),
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/local/go/bin`, FTE_REPORTS: reports },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
  })
})
after(async () => {
  await browser?.close()
  if (reports) rmSync(reports, { recursive: true })
})

/** A report in a browser that has no network. Whatever the page says to the console, or asks for, is a fault. */
async function open(name, { scheme = 'light', width = 1280 } = {}) {
  const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height: 900 }, offline: true })
  const page = await context.newPage()
  page.faults = []
  page.on('pageerror', (e) => page.faults.push(String(e)))
  page.on('console', (m) => page.faults.push(m.text()))
  const address = pathToFileURL(path.join(reports, name, 'report.html')).href
  page.on('request', (r) => r.url().split('#')[0] === address || page.faults.push(r.url()))
  await page.goto(address)
  return page
}

/** What the page breaks of WCAG 2.2 AA and best practice, with everything unfolded. */
async function violations(page) {
  await page.evaluate(() => document.querySelectorAll('details').forEach((d) => (d.open = true)))
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }))
  return violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target} ${n.failureSummary}`))
}

async function picture(page, name) {
  const folder = process.env.SCREENSHOTS
  if (!folder) return
  mkdirSync(folder, { recursive: true })
  await page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true })
}

for (const [name, scheme, width] of [
  ['valid', 'light', 1280],
  ['valid', 'dark', 1280],
  ['violated', 'light', 390],
  ['violated', 'dark', 1280],
  ['nothing', 'light', 1280],
]) {
  test(`${name}, ${scheme}, ${width} px wide: says its verdict, asks nobody, leaves nobody out`, async () => {
    const page = await open(name, { scheme, width })
    const word = { nothing: 'inconclusive' }[name] ?? name
    assert.ok((await page.locator('h1').innerText()).toLowerCase().startsWith(word))
    assert.equal(await page.locator('#evidence').count(), name === 'violated' ? 1 : 0)
    await picture(page, `report-${name}-${scheme}-${width}`)
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out')
    assert.deepEqual(await violations(page), [])
    assert.deepEqual(page.faults, [])
    await page.context().close()
  })
}

test('keys: one stop a lane, arrows from fault to fault, and what each was in words', async () => {
  const page = await open('valid')
  const told = page.locator('#told')
  const lane = page.getByRole('group', { name: /^worker-1:/ })
  const faults = lane.getByRole('button')
  assert.ok((await faults.count()) > 2)
  assert.equal(await lane.locator('button[tabindex="0"]').count(), 1)
  await lane.locator('button[tabindex="0"]').focus()
  assert.equal((await told.innerText()).split('\n')[0], await faults.nth(0).getAttribute('aria-label'))
  await page.keyboard.press('ArrowRight')
  await page.keyboard.press('ArrowRight')
  assert.match(await told.innerText(), /^N1 kill, strike \d+, on worker-1 at 1:\d\d\.\d{3}; 5 busy customers without an owner, at most 1\.30 s\nprocess \d+ is gone$/)
  await page.keyboard.press('End')
  assert.ok(await faults.last().evaluate((b) => b === document.activeElement && b.tabIndex === 0))
  await page.keyboard.press('ArrowRight')
  assert.ok(await faults.last().evaluate((b) => b === document.activeElement), 'the end is the end')
  await page.keyboard.press('Tab')
  assert.ok(await page.evaluate(() => document.activeElement.closest('.lane')?.ariaLabel.startsWith('worker-2:')), 'on to the next lane')
  await page.keyboard.press('Shift+Tab')
  assert.ok(await faults.last().evaluate((b) => b === document.activeElement), 'and back to where one was')
})

test('zoom: the time that was in the middle stays there', async () => {
  const page = await open('valid')
  const field = page.locator('.field')
  const wide = () => field.evaluate((f) => f.scrollWidth / f.clientWidth)
  assert.ok((await wide()) < 1.01)
  await page.getByLabel('Zoom').fill('3')
  assert.ok(Math.abs((await wide()) - 8) < 0.2)
  const middle = await field.evaluate((f) => (f.scrollLeft + f.clientWidth / 2) / f.scrollWidth)
  assert.ok(Math.abs(middle - 0.5) < 0.02)
  const { x, width } = await page.getByRole('group', { name: /^worker-1:/ }).getByRole('button').first().boundingBox()
  assert.ok(x < 0 && width > 30, 'the first fault went out to the left, and has its true width')
})

test('a thousand faults and fifty thousand messages are a page that opens', async () => {
  const page = await open('long')
  assert.ok((await page.locator('.span').count()) >= 1000)
  await page.locator('.lane .span').nth(500).hover({ force: true })
  assert.match(await page.locator('#told').innerText(), /strike \d+/)
  await picture(page, 'report-long')
  assert.deepEqual(page.faults, [])
})
