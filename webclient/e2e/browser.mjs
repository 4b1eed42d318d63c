// What both tests share: the running program, and a browser to look at it with.
import { readFileSync, mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { chromium } from 'playwright-core'

/** The running `fte dev`: FTE_DEV_JSON names its dev.json. */
export const dev = JSON.parse(readFileSync(process.env.FTE_DEV_JSON ?? '.fte/dev.json', 'utf8'))

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

export async function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
  })
}

/** A page that fails the test when a script fails or the content policy is broken. */
export async function open(browser, address, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(30_000)
  page.faults = []
  page.on('pageerror', (e) => page.faults.push(String(e)))
  page.on('console', (m) => {
    if (/Content Security Policy/.test(m.text())) page.faults.push(m.text())
  })
  await page.goto(address)
  return page
}

/** The accessibility rules that the page breaks, WCAG 2.2 AA and best practice; none is right. */
export async function violations(page) {
  // A content policy does not hold for what the debugger evaluates.
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }))
  return violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target} ${n.failureSummary}`))
}

/** Writes a picture of the page into the folder SCREENSHOTS names, if it names one. */
export async function picture(page, name) {
  const folder = process.env.SCREENSHOTS
  if (!folder) return
  mkdirSync(folder, { recursive: true })
  await page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true })
}

/** Asks the operator API, or what fte dev adds to it. */
export async function operator(at, { method = 'GET', body } = {}) {
  const answer = await fetch(dev.http + at, {
    method,
    headers: { Authorization: `Bearer ${dev.operator_token}`, ...(body && { 'Content-Type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  })
  if (!answer.ok) throw new Error(`${method} ${at}: ${answer.status} ${await answer.text()}`)
  const text = await answer.text()
  return text ? JSON.parse(text) : undefined
}

/** Looks again and again until something is there. */
export async function until(what, look, within = 60_000) {
  const giveUp = Date.now() + within
  for (;;) {
    const found = await look().catch(() => undefined)
    if (found) return found
    if (Date.now() > giveUp) throw new Error(`waited in vain for ${what}`)
    await new Promise((done) => setTimeout(done, 200))
  }
}
