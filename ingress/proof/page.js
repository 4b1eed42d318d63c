
// The token stands in the link's fragment: it goes into the form by itself.
const fill = () => {
  const token = location.hash.slice(1)
  if (!token) return
  document.getElementById('token').value = token
  document.getElementById('typed').hidden = true
}
fill()
addEventListener('hashchange', fill)
