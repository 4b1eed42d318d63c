package knowledge

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Terms are the words of text that carry meaning, as stems: lower case, without
// accents, inflections and filler words. Both what is stored and what is asked
// goes through it, so that the database compares like with like.
func Terms(text string) []string {
	var terms []string
	for _, w := range strings.FieldsFunc(fold(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }) {
		if filler[w] || len(w) < 2 {
			continue
		}
		w = stem(w)
		if s, ok := same[w]; ok {
			w = s
		}
		if w != "" {
			terms = append(terms, w)
		}
	}
	return terms
}

// fold lowers text and takes marks off Latin letters. Spelled phrases that mean
// one word become it.
func fold(text string) string {
	s := strings.Map(func(r rune) rune {
		if r >= 0x0300 && r <= 0x036F || r == '\'' || r == '’' {
			return -1
		}
		return r
	}, norm.NFKD.String(strings.ToLower(text)))
	return joined.Replace(norm.NFC.String(s))
}

// joined are phrases read as one word.
var joined = strings.NewReplacer(
	"log in", "login", "logging in", "login", "logged in", "login", "log into", "login", "sign in", "login", "signing in", "login", "sign into", "login", "signed in", "login", "get into my account", "login account", "access my account", "login account",
	"two-factor", "twofactor", "two factor", "twofactor", "2-factor", "twofactor", "2fa", "twofactor", "two-step", "twofactor", "2-step", "twofactor", "multi-factor", "twofactor", "mfa", "twofactor", "authenticator", "twofactor",
	"single sign-on", "sso", "single sign on", "sso", "web hook", "webhook", "api key", "apikey", "api token", "apikey", "access token", "apikey",
	"time zone", "timezone", "time-zone", "timezone", "e-mail", "email", "push notification", "notification", "cancel my account", "close account", "set up", "setup", "getting started", "begin", "get started", "begin", "get back in", "login", "get it back", "restore", "get them back", "restore", "have it back", "restore", "hi team", "hi", "hello team", "hello", "dear team", "dear", "support team", "support", "your team", "your", "spread sheet", "spreadsheet",
)

// same maps stems to the one that stands for them: words customers use for what
// the articles call otherwise.
var same = func() map[string]string {
	m := map[string]string{}
	for word, synonyms := range map[string]string{
		"password": "passwd passcode passphrase pwd", "reset": "forgot forget forgotten recover", "delete": "erase remove close terminate deactivate cancel",
		"attach": "upload attachment", "export": "download backup", "member": "colleague teammate coworker people employee",
		"invoice": "receipt bill billing", "notification": "alert notify reminder remind", "mobile": "iphone android phone smartphone ipad tablet",
		"role": "permission privilege admin administrator", "automation": "automate automatic automatically", "status": "outage unavailable",
		"sso": "saml okta azure", "guest": "external outside", "restore": "undelete recover", "invite": "join invitation", "dark": "theme",
		"email": "mail", "refuse": "accept accepted reject decline declined", "slow": "lag laggy sluggish", "load": "open opening", "card": "task", "csv": "spreadsheet excel",
	} {
		for _, w := range strings.Fields(synonyms) {
			m[stem(w)] = stem(word)
		}
	}
	return m
}()

// stem takes common English endings off a word. It is a small relative of
// Porter's, enough to bring inflections together.
func stem(w string) string {
	n := len(w)
	switch {
	case n > 6 && strings.HasSuffix(w, "ations"):
		w = w[:n-5] + "e"
	case n > 6 && strings.HasSuffix(w, "ation"):
		w = w[:n-4] + "e"
	case n > 4 && strings.HasSuffix(w, "ies"):
		w = w[:n-3] + "y"
	case n > 4 && (strings.HasSuffix(w, "sses") || strings.HasSuffix(w, "shes") || strings.HasSuffix(w, "ches") || strings.HasSuffix(w, "xes")):
		w = w[:n-2]
	case n > 3 && strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss") && !strings.HasSuffix(w, "us") && !strings.HasSuffix(w, "is"):
		w = w[:n-1]
	}
	n = len(w)
	switch {
	case n > 5 && strings.HasSuffix(w, "ing"):
		w = undouble(w[:n-3])
	case n > 4 && strings.HasSuffix(w, "ed"):
		w = undouble(w[:n-2])
	case n > 5 && strings.HasSuffix(w, "ly"):
		w = w[:n-2]
	}
	return strings.TrimSuffix(w, "e")
}

func undouble(w string) string {
	n := len(w)
	if n > 3 && w[n-1] == w[n-2] && !strings.ContainsRune("lsz", rune(w[n-1])) {
		return w[:n-1]
	}
	return w
}

var filler = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(`a an and are as at be been being but by can cannot cant could did do does doesnt dont for from get gets getting got had has have hello hey hi help how i id if im in into is isnt it its ive just know let like ll may me might my need no not of on or our out please pls plz possible so some somehow still tell thank thanks that the their them then there these they thing things this those to too try trying tried us use using used ve very want wants was way we well were what whats when where which who why will with without work working works would you your yours
		able about also any anyone been before cool dear am want wanted wondering wonder question quick ok okay really right now one two make sure different new find look looking see show shows go going good much many more most everything something anything nothing fieldnote support regards greetings morning afternoon evening best kind yes say says said keep keeps every whole today long last here again behind now monday tuesday wednesday thursday friday saturday sunday super extremely totally pretty quite should three`) {
		m[w] = true
	}
	return m
}()
