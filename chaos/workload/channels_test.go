package workload

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/support"
)

var three = []support.Channel{support.Email, support.WhatsApp, support.WebForm}

// world is vendors and an edge: a mailbox that counts, and a form that refuses each
// third first try.
type world struct {
	mu     sync.Mutex // guards all below
	mails  []*mail.Message
	repeat []string
	forms  map[string]int // tries by idempotency key
	sites  map[string]bool
	chats  int
}

func (v *world) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch r.URL.Path {
	case "/_ctl/gmail/inbound":
		if id := r.URL.Query().Get("repeat"); id != "" {
			v.repeat = append(v.repeat, id)
			fmt.Fprintf(w, `{"id":%q,"threadId":"t","historyId":"1","push_status":204}`, id)
			return
		}
		m, err := mail.ReadMessage(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		v.mails = append(v.mails, m)
		fmt.Fprintf(w, `{"id":"g%d","threadId":"t","historyId":"1","push_status":0}`, len(v.mails))
	case "/_ctl/whatsapp/inbound":
		v.chats++
		fmt.Fprintf(w, `{"MessageSid":"x","webhook_status":200}`)
	case "/support/submit":
		key := r.Header.Get("Idempotency-Key")
		v.forms[key]++
		v.sites[r.Header.Get("X-Site-Key")] = true
		var fields map[string]string
		raw, _ := io.ReadAll(r.Body)
		if json.Unmarshal(raw, &fields) != nil || len(fields["message"]) < 10 || len(fields["subject"]) < 5 {
			http.Error(w, "fields", http.StatusUnprocessableEntity)
			return
		}
		if len(v.forms)%3 == 0 && v.forms[key] == 1 {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, `{"ticket_id":"ticket-%s","access_token":"token"}`, key)
	default:
		if r.Header.Get("Authorization") != "Bearer token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"status":"answered","messages":[{"seq":1,"by":"customer","text":"x","at":"2026-11-22T10:00:00Z","answers":[]}]}`)
	}
}

func newWorld(t *testing.T, change func(*Config)) (*world, *Workload) {
	v := &world{forms: map[string]int{}, sites: map[string]bool{}}
	web := httptest.NewServer(v)
	t.Cleanup(web.Close)
	cfg := Config{Sim: web.URL, APIs: []string{web.URL}, SiteKey: "dev", Mailbox: "support@fte.test", Channels: three, Run: "r", Seed: 5, Customers: 30, Messages: 150, Over: -1,
		Redeliver: 0.2, Insist: 20 * time.Second}
	if change != nil {
		change(&cfg)
	}
	w, err := New(cfg)
	require.NoError(t, err)
	return v, w
}

func TestCustomersMixTheirChannels(t *testing.T) {
	cfg := Config{Run: "r", Channels: three}
	sets := map[string]int{}
	for i := range 600 {
		sets[fmt.Sprint(channelsOf(cfg, i))]++
	}
	require.Len(t, sets, 6, "%v", sets)
	for set, n := range sets {
		require.InDelta(t, 100, n, 50, set)
	}
}

func TestThreeChannelsAreWrittenTo(t *testing.T) {
	t.Parallel()
	v, w := newWorld(t, nil)
	require.NoError(t, w.Run(context.Background()))
	require.Len(t, w.Accepted(), 150)
	by, again := map[string]int{}, map[string]int{}
	for _, op := range w.History() {
		require.NotEmpty(t, op.ExternalID, "every try of an accepted message has its id: %+v", op)
		require.Empty(t, op.First)
		if op.Client == "vendor" {
			again[op.Channel]++
		} else if op.Outcome == checker.OK {
			by[op.Channel]++
		}
		if op.Channel == "email" {
			require.True(t, strings.HasPrefix(op.ExternalID, "support@fte.test/g"))
			require.Equal(t, "t", op.ThreadID)
		}
	}
	require.Equal(t, by["email"], len(v.mails), "a repeated mail is a repeated notification")
	require.Equal(t, by["whatsapp"]+again["whatsapp"], v.chats)
	require.Equal(t, by["webform"], len(v.forms))
	require.Equal(t, again["email"], len(v.repeat))
	require.Equal(t, map[string]bool{"dev": true}, v.sites)
	for _, c := range three {
		require.Greater(t, by[string(c)], 20)
		require.Positive(t, again[string(c)])
	}
	following := 0
	ids := map[string]bool{}
	for _, m := range v.mails {
		if parent := m.Header.Get("In-Reply-To"); parent != "" {
			following++
			require.True(t, ids[parent], "it follows what was written before")
			require.True(t, strings.HasPrefix(m.Header.Get("Subject"), "Re: Question "))
		}
		ids[m.Header.Get("Message-ID")] = true
	}
	require.Greater(t, following, 5)
	tickets, err := w.Tickets(context.Background())
	require.NoError(t, err)
	require.Len(t, tickets, by["webform"])
}

func TestWrittenMails(t *testing.T) {
	v, w := newWorld(t, func(c *Config) { c.Insist = 0 })
	op := w.Write(context.Background(), Message{Customer: 3, Channel: support.Email, Text: "away until Monday", Header: []string{"Auto-Submitted: auto-replied"}, Allow: []string{"ignored"}})
	require.Equal(t, checker.OK, op.Outcome)
	require.Equal(t, []string{"ignored"}, op.Allow)
	require.Equal(t, "auto-replied", v.mails[0].Header.Get("Auto-Submitted"))
	from, err := v.mails[0].Header.AddressList("From")
	require.NoError(t, err)
	require.Equal(t, MailAddress("r", 3), from[0].Address)
	require.Equal(t, from[0].Address, op.Address)
	op = w.Write(context.Background(), Message{Channel: support.WebForm, Text: "short"})
	require.Equal(t, checker.Failed, op.Outcome)
}

func TestWhatAWorkloadNeeds(t *testing.T) {
	for _, c := range []Config{{}, {Sim: "x", Run: "r", Channels: three}, {Sim: "x", Run: "r", Channels: three, Mailbox: "m"}, {Sim: "x", Run: "r", Redeliver: 2}} {
		_, err := New(c)
		require.Error(t, err)
	}
}
