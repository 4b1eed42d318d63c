package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"fte/ingress/kafka"
	"fte/persistence"
)

// files are the cluster's certificates and the keysets.
func (d *doctor) files(context.Context) (all []finding) {
	if d.cfg.TLSCert != "" {
		if _, _, err := peerTLS(d.cfg.TLSCA, d.cfg.TLSCert, d.cfg.TLSKey); err != nil {
			all = append(all, fail("FTE_TLS_CERT", err.Error(), "give the member's certificate, its key and the cluster's authority as PEM files"))
		} else {
			all = append(all, expiry("FTE_TLS_CERT", d.cfg.TLSCert), expiry("FTE_TLS_CA", d.cfg.TLSCA))
		}
	}
	if d.cfg.KeysDir != "" {
		if _, err := persistence.LoadKeys(persistence.KeyConfig{Dir: d.cfg.KeysDir, Production: d.cfg.production()}); err != nil {
			all = append(all, fail("FTE_KEYS", err.Error(), "hand every member the same folder of keysets; docs/runbook.md, Keys"))
		} else {
			all = append(all, ok("FTE_KEYS", "the keysets can be read"))
		}
	}
	return all
}

// soon is when an expiry begins to matter.
const soon = 30 * 24 * time.Hour

func expiry(name, file string) finding {
	raw, err := os.ReadFile(file)
	block, _ := pem.Decode(raw)
	if err != nil || block == nil {
		return fail(name, "no certificate can be read", "give a PEM file")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fail(name, err.Error(), "give a PEM file")
	}
	return validUntil(name, cert)
}

func validUntil(name string, cert *x509.Certificate) finding {
	until := cert.NotAfter.Format(time.DateOnly)
	switch left := time.Until(cert.NotAfter); {
	case left < 0:
		return fail(name, "the certificate ended on "+until, "renew it")
	case left < soon:
		return warn(name, "the certificate ends on "+until, "renew it")
	default:
		return ok(name, "valid until %s", until)
	}
}

// postgres: it can be reached, has a version and a schema that we know, and was
// made with our keys.
func (d *doctor) postgres(ctx context.Context) []finding {
	const name = "DATABASE_URL"
	if !isPostgresURL(d.cfg.DatabaseURL) {
		return nil // named among the settings
	}
	pool, err := persistence.Open(ctx, persistence.Config{URL: d.cfg.DatabaseURL, MaxConns: 2, Name: "fte doctor", Dial: d.dial.DialContext, Log: zap.NewNop()})
	if err == nil {
		defer pool.Close()
		err = pool.Ping(ctx)
	}
	if err != nil {
		return []finding{fail(name, err.Error(), "start Postgres 15 to 18, or mend host, user, password or database")}
	}
	var version int
	var text string
	if err := pool.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version')`).Scan(&version, &text); err != nil {
		return []finding{fail(name, err.Error(), "try again")}
	}
	all := []finding{ok(name, "Postgres %s answers", text)}
	if version < 150000 || version >= 190000 {
		all[0] = warn(name, "Postgres "+text+" was not tried", "use 15 to 18")
	}
	s, err := persistence.MigrationStatus(ctx, pool)
	switch {
	case err != nil:
		return append(all, fail("schema", err.Error(), "fte migrate status says more"))
	case len(s.Pending) > 0:
		return append(all, fail("schema", fmt.Sprintf("version %d, missing %s", s.Current, strings.Join(s.Pending, ", ")), "fte migrate up"))
	}
	all = append(all, ok("schema", "version %d", s.Current))
	if s.Vector {
		all = append(all, ok("vector", "the extension is there"))
	} else {
		all = append(all, warn("vector", "no extension: search goes by words alone", "install pgvector and run fte migrate up"))
	}
	keys, err := persistence.LoadKeys(persistence.KeyConfig{Dir: d.cfg.KeysDir, Production: d.cfg.production()})
	var used bool
	if err == nil {
		err = pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM key_check)`).Scan(&used)
	}
	if err == nil && used { // the check of an unused database would bind it to these keys
		err = persistence.CheckKeys(ctx, pool, keys)
	}
	if err != nil {
		return append(all, fail("keys of the database", err.Error(), "use the keysets that the database was made with"))
	}
	return append(all, ok("keys of the database", "they are ours"), d.watch(ctx, persistence.NewAccounts(pool)))
}

// watch is the mailbox's: renewed daily, it ends after seven days (GM-05).
func (d *doctor) watch(ctx context.Context, accounts *persistence.Accounts) finding {
	const name = "watch of the mailbox"
	if !d.cfg.mails() || d.simulated(d.cfg.GmailURL) {
		return ok(name, "none is needed")
	}
	m, err := accounts.Mailbox(ctx, d.cfg.GmailMailbox)
	switch left := time.Until(m.WatchEnds); {
	case err != nil || m.WatchEnds.IsZero():
		return warn(name, "none is known", "a worker starts one; if this stays, see its log")
	case left < 24*time.Hour:
		return fail(name, "it ends on "+m.WatchEnds.Format(time.RFC3339), "see why the worker could not renew it: GMAIL_PUBSUB_TOPIC and its publisher role")
	case left < 48*time.Hour:
		return warn(name, "it ends on "+m.WatchEnds.Format(time.RFC3339), "see why the worker could not renew it")
	default:
		return ok(name, "until %s", m.WatchEnds.Format(time.RFC3339))
	}
}

func (d *doctor) kafka(ctx context.Context) []finding {
	const name = "KAFKA_BROKERS"
	if len(d.cfg.KafkaBrokers) == 0 {
		return nil
	}
	servers, err := d.cfg.servers("fte doctor", d.dial)
	if err != nil {
		return []finding{fail(name, err.Error(), "mend KAFKA_TLS_CA")}
	}
	admin, err := kafka.NewAdmin(kafka.AdminConfig{Servers: servers})
	if err == nil {
		defer admin.Close()
		err = admin.Ready(ctx)
	}
	if err != nil {
		return []finding{fail(name, err.Error(), "reach a broker (KAFKA_TLS, KAFKA_SASL_…), and run fte migrate up for topics that are missing")}
	}
	all := []finding{ok(name, "a broker answers, all %d topics are there", len(kafka.Topics()))}
	lag, err := admin.Lag(ctx)
	if err != nil {
		return append(all, warn("consumers", err.Error(), "look at the broker's rights for groups"))
	}
	for ch, n := range lag {
		if n > 1000 {
			all = append(all, warn("consumers", fmt.Sprintf("%d messages of %s wait", n, ch), "look at fte members and /health"))
		}
	}
	return all
}

// publicURL is what vendors call: it must reach an edge of ours.
func (d *doctor) publicURL(ctx context.Context) []finding {
	const name = "FTE_PUBLIC_URL"
	r, err := http.NewRequest(http.MethodGet, strings.TrimSuffix(d.cfg.PublicURL, "/")+"/livez", nil)
	if err != nil || d.cfg.PublicURL == "" {
		return nil
	}
	res, err := d.http.Do(r.WithContext(ctx))
	if err != nil {
		return []finding{fail(name, err.Error(), "let it resolve, with a certificate that vendors trust, to an edge (fte serve -run webhook)")}
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return []finding{fail(name, fmt.Sprintf("GET /livez says %d", res.StatusCode), "route it to an edge (fte serve -run webhook)")}
	}
	all := []finding{ok(name, "an edge answers")}
	if res.TLS != nil {
		all = append(all, validUntil("certificate of the public URL", res.TLS.PeerCertificates[0]))
	}
	return all
}

// simulated says whether a vendor's base URL is one of fte dev's simulators.
func (d *doctor) simulated(base string) bool { return d.sim != "" && strings.HasPrefix(base, d.sim) }

func (d *doctor) twilio(ctx context.Context) (all []finding) {
	if d.simulated(d.cfg.TwilioURL) {
		r, _ := http.NewRequest(http.MethodGet, d.sim+"/_ctl/faults", nil)
		if status, err := d.ask(ctx, r, nil); err != nil || status != http.StatusOK {
			return []finding{fail("simulated vendors", fmt.Sprintf("%s does not answer", d.sim), "look at DIR/log/sim.log; fte dev starts them again")}
		}
		return []finding{ok("simulated vendors", "they answer at %s", d.sim)}
	}
	for i, token := range d.cfg.TwilioTokens {
		name := []string{"TWILIO_AUTH_TOKEN", "TWILIO_AUTH_TOKEN (previous)"}[min(i, 1)]
		r, err := http.NewRequest(http.MethodGet, d.cfg.TwilioURL+"/2010-04-01/Accounts/"+url.PathEscape(d.cfg.TwilioSID)+".json", nil)
		if err != nil || d.cfg.TwilioSID == "" {
			return nil
		}
		r.SetBasicAuth(d.cfg.TwilioSID, token)
		var account struct{ Status, Type string }
		status, err := d.ask(ctx, r, &account)
		switch {
		case err != nil:
			all = append(all, fail(name, "Twilio does not answer: "+err.Error(), "let this machine reach TWILIO_BASE_URL"))
		case status == http.StatusUnauthorized && i > 0:
			all = append(all, warn(name, "Twilio does not take it any more", "remove it once the rotation is over"))
		case status == http.StatusUnauthorized || status == http.StatusNotFound:
			all = append(all, fail(name, "Twilio does not take account and token", "copy both from the Twilio console: docs/connect.md"))
		case status != http.StatusOK:
			all = append(all, fail(name, fmt.Sprintf("Twilio says %d", status), "try again; status.twilio.com"))
		case account.Status != "active":
			all = append(all, fail(name, "the account is "+account.Status, "see the Twilio console"))
		case account.Type == "Trial":
			all = append(all, warn(name, "a trial account", "upgrade it before real customers write"))
		default:
			all = append(all, ok(name, "the account is active"))
		}
	}
	if strings.HasSuffix(d.cfg.TwilioNumber, "+14155238886") {
		all = append(all, warn("TWILIO_WHATSAPP_NUMBER", "Twilio's sandbox: only numbers that joined within three days are reached", "register a sender: docs/connect.md"))
	}
	return all
}

// scope is what our refresh token must allow.
const scope = "https://www.googleapis.com/auth/gmail.modify"

func (d *doctor) gmail(ctx context.Context) []finding {
	g := d.cfg.GmailSettings
	switch {
	case !g.mails():
		return []finding{warn("GMAIL_MAILBOX", "not set: there is no e-mail channel", "docs/connect.md has the steps")}
	case d.simulated(g.GmailURL):
		return []finding{ok("GMAIL_MAILBOX", "simulated")}
	}
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {g.GmailClientID}, "client_secret": {g.GmailClientSecret}, "refresh_token": {g.GmailRefreshToken}}
	r, err := http.NewRequest(http.MethodPost, g.GmailTokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var token struct {
		Access string `json:"access_token"`
		Scope  string `json:"scope"`
	}
	status, err := d.ask(ctx, r, &token)
	switch {
	case err != nil:
		return []finding{fail("GMAIL_REFRESH_TOKEN", "Google does not answer: "+err.Error(), "let this machine reach GMAIL_TOKEN_URL")}
	case status != http.StatusOK:
		return []finding{fail("GMAIL_REFRESH_TOKEN", fmt.Sprintf("Google says %d", status), "make a new one, with the app published: docs/connect.md")}
	case token.Scope != "" && !slices.Contains(strings.Fields(token.Scope), scope) && !slices.Contains(strings.Fields(token.Scope), "https://mail.google.com/"):
		return []finding{fail("GMAIL_REFRESH_TOKEN", "its scope is too narrow", "make a new one with "+scope)}
	}
	all := []finding{ok("GMAIL_REFRESH_TOKEN", "Google exchanges it")}
	if r, err = http.NewRequest(http.MethodGet, g.GmailURL+"/gmail/v1/users/me/profile", nil); err != nil {
		return all
	}
	r.Header.Set("Authorization", "Bearer "+token.Access)
	var profile struct {
		Email string `json:"emailAddress"`
	}
	status, err = d.ask(ctx, r, &profile)
	switch {
	case err != nil || status != http.StatusOK:
		all = append(all, fail("GMAIL_MAILBOX", fmt.Sprintf("the profile cannot be read (%d)", status), "enable the Gmail API in the project"))
	case !strings.EqualFold(profile.Email, g.GmailMailbox):
		all = append(all, fail("GMAIL_MAILBOX", "the token opens another mailbox", "consent as the mailbox's own user"))
	default:
		all = append(all, ok("GMAIL_MAILBOX", "it opens"))
	}
	if r, err = http.NewRequest(http.MethodGet, g.GmailCertsURL, nil); err == nil {
		if status, err = d.ask(ctx, r, nil); err != nil || status != http.StatusOK {
			all = append(all, fail("GMAIL_CERTS_URL", "the keys of push tokens cannot be read", "let this machine reach it"))
		} else {
			all = append(all, ok("GMAIL_CERTS_URL", "the keys of push tokens can be read"))
		}
	}
	for name, form := range map[string][2]string{"GMAIL_PUBSUB_TOPIC": {g.GmailTopic, "/topics/"}, "GMAIL_PUSH_SUBSCRIPTION": {g.GmailSubscription, "/subscriptions/"}} {
		if !strings.HasPrefix(form[0], "projects/") || !strings.Contains(form[0], form[1]) {
			all = append(all, fail(name, "is not projects/PROJECT"+form[1]+"NAME", "copy its full name"))
		}
	}
	return all
}

func (d *doctor) openai(ctx context.Context) []finding {
	switch {
	case !d.cfg.useOpenAI():
		return []finding{ok("OPENAI_API_KEY", "the built-in model answers")}
	case d.simulated(d.cfg.OpenAIURL):
		return []finding{ok("OPENAI_API_KEY", "simulated")}
	}
	r, err := http.NewRequest(http.MethodGet, strings.TrimSuffix(d.cfg.OpenAIURL, "/")+"/models", nil)
	if err != nil {
		return nil
	}
	r.Header.Set("Authorization", "Bearer "+d.cfg.OpenAIKey)
	var models struct{ Data []struct{ ID string } }
	status, err := d.ask(ctx, r, &models)
	switch {
	case err != nil:
		return []finding{fail("OPENAI_API_KEY", "the service does not answer: "+err.Error(), "let this machine reach OPENAI_BASE_URL")}
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return []finding{fail("OPENAI_API_KEY", "the service does not take it", "make a new one: docs/connect.md")}
	case status != http.StatusOK:
		return []finding{fail("OPENAI_API_KEY", fmt.Sprintf("the service says %d", status), "look at quota and status of the account")}
	}
	for _, m := range models.Data {
		if m.ID == d.cfg.OpenAIModel {
			return []finding{ok("OPENAI_API_KEY", "the service takes it"), ok("OPENAI_MODEL", "%s is there", m.ID)}
		}
	}
	return []finding{ok("OPENAI_API_KEY", "the service takes it"), fail("OPENAI_MODEL", d.cfg.OpenAIModel+" is not among this key's models", "name one of them")}
}

// running asks the system that is running, where one is known.
func (d *doctor) running(ctx context.Context) (all []finding) {
	if d.api == nil {
		return nil
	}
	if err := d.api.call(ctx, http.MethodGet, "/members", nil, nil); err != nil {
		var refused *statusError
		if errors.As(err, &refused) && refused.status == http.StatusUnauthorized {
			return []finding{fail("FTE_TOKEN", "the operator API does not take it", "use FTE_OPERATOR_TOKEN of its processes")}
		}
		return []finding{fail("operator API", err.Error(), "start a process with the role console")}
	}
	r, _ := http.NewRequest(http.MethodGet, d.api.base+"/health", nil)
	type state struct{ Status, Detail string }
	var health struct {
		Status                 string
		Channels, Dependencies map[string]state
	}
	if status, err := d.ask(ctx, r, &health); err != nil || status != http.StatusOK {
		return []finding{fail("health", fmt.Sprintf("GET /health says %d: nothing works", status), "look at the lines above and at docs/runbook.md")}
	}
	for kind, states := range map[string]map[string]state{"channel": health.Channels, "dependency": health.Dependencies} {
		for name, s := range states {
			if s.Status != "up" {
				all = append(all, warn(kind+" "+name, s.Status+": "+s.Detail, "docs/runbook.md"))
			}
		}
	}
	slices.SortFunc(all, func(a, b finding) int { return strings.Compare(a.name, b.name) })
	if len(all) == 0 {
		all = append(all, ok("health", "everything is up"))
	}
	return all
}
