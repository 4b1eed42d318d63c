'use strict'
const told = document.getElementById('told')
const tell = (span) => {
  const what = document.createElement('strong')
  what.textContent = span.getAttribute('aria-label')
  told.replaceChildren(what, document.createElement('br'), span.dataset.e || 'No evidence was noted.')
}
const lanes = document.querySelector('.lanes')
for (const kind of ['focusin', 'mouseover', 'click']) {
  lanes.addEventListener(kind, (e) => e.target.classList.contains('span') && tell(e.target))
}
// One tab stop a lane; arrow keys move along it, Home and End to its ends.
lanes.addEventListener('keydown', (e) => {
  if (!e.target.classList.contains('span')) return
  const all = [...e.target.parentElement.querySelectorAll('.span')]
  const at = all.indexOf(e.target)
  const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[e.key]
  if (next === undefined) return
  e.preventDefault()
  const to = all[next]
  if (!to) return
  e.target.tabIndex = -1
  to.tabIndex = 0
  to.focus()
})
// The zoom keeps what is in the middle there.
const zoom = document.getElementById('zoom')
const field = document.querySelector('.field')
zoom.addEventListener('input', () => {
  const times = 2 ** zoom.value
  const middle = (field.scrollLeft + field.clientWidth / 2) / field.scrollWidth
  zoom.setAttribute('aria-valuetext', `${times} times`)
  lanes.style.setProperty('--zoom', times)
  field.scrollLeft = middle * field.scrollWidth - field.clientWidth / 2
})
