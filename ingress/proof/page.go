package proof

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
)

// page is what one of the pages says.
type page struct {
	Title   string
	Text    []string // paragraphs
	Path    string   // where the button posts to; empty without one
	Button  string
	Code    string // to be sent by WhatsApp
	Minutes int    // that it is good for
	Number  string // to which
	Link    *link
}

type link struct{ URL, Text, Note string }

// The pages that ask. None of them tells whom or what a token belongs to.
var (
	askVerify = page{Title: "Is this e-mail address yours?", Button: "Yes, it is mine",
		Text: []string{"Somebody wrote to us and gave this address. If it was you, confirm it: then we can use what we know from your earlier messages.",
			"If it was not you, close this page. Nothing happens."}}
	askLink = page{Title: "Link WhatsApp", Button: "Show me a code",
		Text: []string{"With a code you can go on with your conversation on WhatsApp, and we know that it is you."}}
	askNotMe = page{Title: "Was it not you?", Button: "Unlink the number",
		Text: []string{"A WhatsApp number was linked to your e-mail address. If you did not do that, unlink it here."}}
)

// The pages that tell what was done.
var (
	verified = page{Title: "Thank you, your address is confirmed",
		Text: []string{"Go back to the page on which you wrote to us: the answer appears there. You can close this one."}}
	issued   = page{Title: "Your code for WhatsApp"}
	unlinked = page{Title: "The number is unlinked",
		Text: []string{"Messages from that number no longer count as yours. If you are worried, reply to any of our mails and ask for a person."}}
)

// The pages that tell why nothing was done.
var (
	noLink = page{Title: "This link does not work any more",
		Text: []string{"It may have been used already, or it is too old, or a part of it is missing. Ask for a new one where you got it, or open the whole link from the mail."}}
	tooMany = page{Title: "That was a bit often", Text: []string{"Please wait a few minutes and try again."}}
	notNow  = page{Title: "This does not work just now", Text: []string{"Nothing is lost. Please go back and try again in a minute."}}
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

var layout = template.Must(template.New("page").Parse(pageHTML))

// policy allows what stands in the page, by its hash, and nothing else.
var policy = "default-src 'none'; style-src " + hashOf(pageCSS) + "; script-src " + hashOf(pageJS) +
	"; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// show writes a page.
func show(w http.ResponseWriter, status int, p page) {
	var body bytes.Buffer
	if err := layout.Execute(&body, struct {
		page
		CSS template.CSS
		JS  template.JS
	}{p, template.CSS(pageCSS), template.JS(pageJS)}); err != nil { // only a template that does not fit its page
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}
