package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"fte/channel/email"
	"fte/channel/email/gmailtest"
	"fte/channel/outbox"
	"fte/channel/simctl"
	"fte/persistence"
	"fte/persistence/persistencetest"
	"fte/support"
)

const ourMailbox = "support@fte.test"

// mailWorld is a database and a simulated Gmail.
type mailWorld struct {
	world
	wire   *http.Transport
	api    *httptest.Server
	gmail  *gmailtest.Server
	client *email.Client
	mails  *email.Sender

	mu   sync.Mutex // guards hook
	hook func(r *http.Request, do func() (*http.Response, error)) (*http.Response, error)
}

// RoundTrip lets a test step between us and Gmail.
func (w *mailWorld) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	hook := w.hook
	w.mu.Unlock()
	do := func() (*http.Response, error) { return w.wire.RoundTrip(r) }
	if hook == nil {
		return do()
	}
	return hook(r, do)
}

func newMailWorld(t *testing.T) *mailWorld {
	t.Helper()
	w := &mailWorld{world: world{t: t, pool: persistencetest.Pool(t)}, wire: &http.Transport{MaxIdleConnsPerHost: 32}}
	keys, err := persistence.DevelopmentKeys(t.TempDir())
	require.NoError(t, err)
	w.store, w.dir = persistence.NewCustomers(w.pool, keys, zap.NewNop()), persistence.NewDirectory(w.pool, keys, zap.NewNop())
	w.outbox = persistence.NewOutbox(w.pool, persistence.NewDEKs(w.pool, keys), zap.NewNop())
	w.gmail, err = gmailtest.New(gmailtest.Config{Dir: t.TempDir(), Mailbox: ourMailbox, TimeScale: 0.01, UnitsPerMinute: -1})
	require.NoError(t, err)
	w.api = httptest.NewServer(w.gmail)
	t.Cleanup(func() { w.wire.CloseIdleConnections(); w.api.Close(); require.NoError(t, w.gmail.Close()) })
	w.client, err = email.NewClient(email.ClientConfig{Mailbox: ourMailbox, BaseURL: w.api.URL, Client: &http.Client{Transport: w}, Scale: 0.01, UnitsPerMinute: 1_000_000})
	require.NoError(t, err)
	w.mails, err = email.NewSender(email.SenderConfig{Client: w.client, Drafts: w.outbox, Name: "Support"})
	require.NoError(t, err)
	return w
}

// on has do called for the first n requests whose path ends so.
func (w *mailWorld) on(suffix string, n int32, hook func(do func() (*http.Response, error)) (*http.Response, error)) *atomic.Int32 {
	var seen atomic.Int32
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook = func(r *http.Request, do func() (*http.Response, error)) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, suffix) && r.Method == http.MethodPost && seen.Add(1) <= n {
			passed := false
			resp, err := hook(func() (*http.Response, error) { passed = true; return do() })
			if err == nil && !passed { // whoever answers has read the request
				_, err = io.Copy(io.Discard, r.Body)
			}
			return resp, err
		}
		return do()
	}
	return &seen
}

func answered(code int) (*http.Response, error) {
	body := fmt.Sprintf(`{"error":{"code":%d,"errors":[{"reason":"backendError"}]}}`, code)
	return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// wrote is a mail of a customer in the mailbox, and its customer.
func (w *mailWorld) wrote(from string) (support.CustomerID, gmailtest.Arrived) {
	w.t.Helper()
	id, _, err := w.dir.CustomerAt(w.t.Context(), support.ChannelVerified, support.Address{Kind: support.KindEmail, Value: from})
	require.NoError(w.t, err)
	in, err := w.gmail.Inbound([]byte("From: "+from+"\r\nTo: "+ourMailbox+"\r\nSubject: Lamp\r\nMessage-ID: <q-"+from+">\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\r\nIt is broken.\r\n"), gmailtest.Arrival{NoPush: true})
	require.NoError(w.t, err)
	return id, in
}

// answer commits replies to a mail.
func (w *mailWorld) answer(id support.CustomerID, to, thread string, texts ...string) {
	w.t.Helper()
	snapshot, err := w.store.Load(w.t.Context(), id)
	require.NoError(w.t, err)
	c := w.commit(snapshot)
	for i, text := range texts {
		seq := c.LastSeq + int64(i) + 1
		c.Messages = append(c.Messages, support.Message{Seq: seq, Direction: support.Out, Channel: support.Email, Level: support.ChannelVerified, By: support.ByAgent,
			Subject: "Lamp", Body: text, Thread: thread, Envelope: support.Envelope{MessageID: "q-" + to}})
		c.Outbox = append(c.Outbox, support.OutboxWrite{Seq: seq, Kind: support.KindAnswer, Channel: support.Email, To: to, Units: 2})
	}
	_, err = w.store.Commit(w.t.Context(), c)
	require.NoError(w.t, err)
}

func (w *mailWorld) run(name string, change func(*outbox.Config)) (stop func()) {
	_, _, stop = w.dispatch(name, func(c *outbox.Config) {
		c.Senders = map[support.Channel]outbox.Sender{support.Email: w.mails}
		if change != nil {
			change(c)
		}
	})
	return stop
}

func (w *mailWorld) mailed() []simctl.Sent { return w.gmail.Control().Sent.List("email", "", 0) }

func (w *mailWorld) drafts() int {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.gmail.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/gmail/v1/users/me/drafts", nil))
	return strings.Count(rec.Body.String(), `"threadId"`)
}

func TestAMailAnswersInItsThread(t *testing.T) {
	w := newMailWorld(t)
	id, in := w.wrote("ada@example.org")
	w.answer(id, "ada@example.org", in.ThreadID, "First.", "Second.")
	w.run("w1", nil)
	w.settles(support.OutAccepted)
	sent := w.mailed()
	require.Len(t, sent, 2)
	for i, s := range sent {
		require.Equal(t, support.Key(id, int64(i+1)), s.Key, "in order")
		require.Equal(t, in.ThreadID, s.ThreadID)
		require.Equal(t, "Re: Lamp", s.Subject)
		require.Contains(t, s.InReplyTo, "q-ada@example.org")
		require.Equal(t, 1, w.count(`SELECT count(*) FROM outbox WHERE provider_id = $1 AND message_id LIKE '%@mail.gmail.com' AND draft_id IS NOT NULL`, s.ProviderID))
	}
	require.Zero(t, w.drafts())

	// A thread that the mailbox has not got is no reason not to answer.
	other, _ := w.wrote("bob@example.org")
	w.answer(other, "bob@example.org", "1234567890abcdef", "Third.")
	require.Eventually(t, func() bool { return len(w.mailed()) == 3 }, patient, 20*time.Millisecond)
}

// Whatever happens to drafts.send, the customer has one mail, GM-18.
func TestOneMailWhateverHappensToItsSend(t *testing.T) {
	cut := errors.New("connection cut")
	faults := map[string]func(do func() (*http.Response, error)) (*http.Response, error){
		"sent but cut": func(do func() (*http.Response, error)) (*http.Response, error) {
			if resp, err := do(); err == nil {
				resp.Body.Close()
			}
			return nil, cut
		},
		"not sent, 503": func(func() (*http.Response, error)) (*http.Response, error) { return answered(503) },
		"sent, 503": func(do func() (*http.Response, error)) (*http.Response, error) {
			if resp, err := do(); err == nil {
				resp.Body.Close()
			}
			return answered(503)
		},
		"429 after accept": func(do func() (*http.Response, error)) (*http.Response, error) {
			if resp, err := do(); err == nil {
				resp.Body.Close()
			}
			return answered(429)
		},
		"not sent, 404": func(func() (*http.Response, error)) (*http.Response, error) { return answered(404) },
		"sent, garbage": func(do func() (*http.Response, error)) (*http.Response, error) {
			if resp, err := do(); err == nil {
				resp.Body.Close()
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("<html>"))}, nil
		},
		"refused, 403": func(func() (*http.Response, error)) (*http.Response, error) { return answered(403) },
		"connection never made": func(func() (*http.Response, error)) (*http.Response, error) {
			return nil, errors.New("no route to host")
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newMailWorld(t)
			id, in := w.wrote("ada@example.org")
			w.answer(id, "ada@example.org", in.ThreadID, "First.", "Second.")
			w.on("/drafts/send", 3, fault)
			w.run("w1", nil)
			w.run("w2", nil)
			w.settles(support.OutAccepted)
			sent := w.mailed()
			require.Len(t, sent, 2)
			require.Equal(t, support.Key(id, 1), sent[0].Key)
			require.Equal(t, support.Key(id, 2), sent[1].Key)
			require.Zero(t, w.drafts(), "no draft is left, and none was made twice")
		})
	}
}

// What happens to drafts.create sends nothing; an orphan is swept away.
func TestADraftThatWasMadeInVain(t *testing.T) {
	w := newMailWorld(t)
	id, in := w.wrote("ada@example.org")
	w.answer(id, "ada@example.org", in.ThreadID, "First.")
	w.on("/drafts", 2, func(do func() (*http.Response, error)) (*http.Response, error) {
		if resp, err := do(); err == nil {
			resp.Body.Close()
		}
		return nil, errors.New("connection cut")
	})
	w.run("w1", nil)
	w.settles(support.OutAccepted)
	require.Len(t, w.mailed(), 1)
	require.Equal(t, 2, w.drafts())

	swept, err := w.client.Sweep(t.Context(), w.outbox)
	require.NoError(t, err)
	require.Zero(t, swept, "they are young")
	old, err := email.NewClient(email.ClientConfig{Mailbox: ourMailbox, BaseURL: w.api.URL, Client: &http.Client{Transport: w}, Scale: 1e-9})
	require.NoError(t, err)
	_, err = w.pool.Exec(t.Context(), `UPDATE outbox SET state = 'unknown', draft_id = NULL`)
	require.NoError(t, err)
	swept, err = old.Sweep(t.Context(), w.outbox)
	require.NoError(t, err)
	require.Zero(t, swept, "a live row may still need them")
	_, err = w.pool.Exec(t.Context(), `UPDATE outbox SET draft_id = 'another'`)
	require.NoError(t, err)
	swept, err = old.Sweep(t.Context(), w.outbox)
	require.NoError(t, err)
	require.Equal(t, 2, swept)
	require.Zero(t, w.drafts())
}

// Two senders with the same row: the one that was frozen sends the same draft.
func TestAFrozenSenderOfAMailSendsNoSecondOne(t *testing.T) {
	for name, suffix := range map[string]string{"before its draft": "/drafts", "before its send": "/drafts/send"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newMailWorld(t)
			id, in := w.wrote("ada@example.org")
			w.answer(id, "ada@example.org", in.ThreadID, "First.")
			thawed := make(chan struct{})
			seen := w.on(suffix, 1, func(do func() (*http.Response, error)) (*http.Response, error) {
				<-thawed
				return do()
			})
			w.run("w1", nil)
			require.Eventually(t, func() bool { return seen.Load() == 1 }, patient, time.Millisecond)
			_, err := w.pool.Exec(t.Context(), `UPDATE outbox SET claim_ends = now()`) // as if it had slept long
			require.NoError(t, err)
			w.run("w2", nil)
			w.settles(support.OutAccepted)
			close(thawed)
			require.Eventually(t, func() bool { return w.drafts() == 0 || suffix == "/drafts" && w.drafts() == 1 }, patient, 10*time.Millisecond)
			require.Len(t, w.mailed(), 1)
			require.Equal(t, 1, w.count(`SELECT count(*) FROM outbox WHERE state = 'accepted'`))
		})
	}
}

// A draft is stored before it is sent; a claim that moved on sends nothing.
func TestNothingIsSentBeforeItsDraftIsStored(t *testing.T) {
	w := newMailWorld(t)
	id, in := w.wrote("ada@example.org")
	w.answer(id, "ada@example.org", in.ThreadID, "First.")
	list, err := w.outbox.Claim(t.Context(), support.Email, "w1", 1, time.Minute)
	require.NoError(t, err)
	keep := &keeping{Outbox: w.outbox}
	s, err := email.NewSender(email.SenderConfig{Client: w.client, Drafts: keep})
	require.NoError(t, err)

	keep.store = func() error { return support.ErrUnavailable }
	var judged *support.SendError
	before := -1
	_, err = s.Send(t.Context(), list[0])
	require.ErrorAs(t, err, &judged)
	require.False(t, judged.Unknown || judged.Permanent || judged.Down)
	require.Empty(t, w.mailed())

	keep.store = func() error {
		before = len(w.mailed())
		return w.outbox.StoreDraft(context.Background(), list[0], keep.draft)
	}
	closed := support.WithGate(t.Context(), func() error { return errors.New("late") })
	_, err = s.Send(closed, list[0])
	require.ErrorAs(t, err, &judged)
	require.False(t, judged.Unknown)
	require.Equal(t, "gate", judged.Code)
	require.Empty(t, w.mailed())

	_, err = s.Send(t.Context(), list[0])
	require.NoError(t, err)
	require.Len(t, w.mailed(), 1)
	require.Zero(t, before, "sent after its draft was stored")
	_, err = s.Send(t.Context(), list[0]) // as the row was claimed: another draft cannot be stored
	require.ErrorIs(t, err, support.ErrStale)
	require.Len(t, w.mailed(), 1)
}

type keeping struct {
	*persistence.Outbox
	store func() error
	draft string
}

func (k *keeping) StoreDraft(_ context.Context, _ support.Outbound, draft string) error {
	k.draft = draft
	return k.store()
}

// A draft that is gone without its mail is a person's, at the second look.
func TestADraftThatIsGoneWithoutItsMail(t *testing.T) {
	w := newMailWorld(t)
	id, in := w.wrote("ada@example.org")
	w.answer(id, "ada@example.org", in.ThreadID, "First.")
	_, err := w.pool.Exec(t.Context(), `UPDATE outbox SET draft_id = 'r1'`) // deleted by hand
	require.NoError(t, err)
	w.run("w1", nil)
	w.settles(support.OutDead)
	require.Empty(t, w.mailed())
	require.Equal(t, 1, w.count(`SELECT count(*) FROM outbox WHERE error = 'not found' AND resends = 0`))
}

// A recipient that Gmail does not take fails at once; nothing is unknown.
func TestARecipientThatIsNone(t *testing.T) {
	w := newMailWorld(t)
	id, in := w.wrote("ada@example.org")
	w.answer(id, in.ID+"@sender.invalid", in.ThreadID, "First.")
	w.run("w1", nil)
	w.settles(support.OutFailed)
	require.Empty(t, w.mailed())
	require.Zero(t, w.drafts())
}

// Gmail away for a while: nothing is used up, all is answered.
func TestGmailAtItsWorst(t *testing.T) {
	w := newMailWorld(t)
	const customers = 12
	for n := range customers {
		from := fmt.Sprintf("c%d@example.org", n)
		id, in := w.wrote(from)
		w.answer(id, from, in.ThreadID, "First.", "Second.")
	}
	for _, f := range []simctl.Fault{
		{Kind: simctl.AcceptThenCut, Rate: 0.15}, {Kind: simctl.Error, Rate: 0.15}, {Kind: simctl.Error, Status: 429, Rate: 0.1}, {Kind: simctl.Garbage, Rate: 0.05},
	} {
		f.Vendor = "gmail"
		require.NoError(t, w.gmail.Control().Faults.Set(f))
	}
	w.run("w1", nil)
	w.run("w2", nil)
	heal := time.AfterFunc(6*time.Second, w.gmail.Control().Faults.Heal)
	defer heal.Stop()
	w.settles(support.OutAccepted)
	seen, last := map[string]bool{}, map[support.CustomerID]int64{}
	for _, s := range w.mailed() {
		require.False(t, seen[s.Key], "key %s was sent twice", s.Key)
		seen[s.Key] = true
		id, seq, err := support.ParseKey(s.Key)
		require.NoError(t, err)
		require.Greater(t, seq, last[id])
		last[id] = seq
	}
	require.Len(t, seen, 2*customers)
}

// A mail in no thread, sent and cut, is found among what was sent.
func TestASentMailIsFoundWithoutItsThread(t *testing.T) {
	for name, thread := range map[string]string{"new": "", "unknown thread": "1234567890abcdef"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newMailWorld(t)
			id, _ := w.wrote("ada@example.org")
			w.answer(id, "Ada@Example.org", thread, "First.")
			w.on("/drafts/send", 1, func(do func() (*http.Response, error)) (*http.Response, error) {
				if resp, err := do(); err == nil {
					resp.Body.Close()
				}
				return nil, errors.New("connection cut")
			})
			w.run("w1", nil)
			w.settles(support.OutAccepted)
			require.Len(t, w.mailed(), 1)
			require.Equal(t, 1, w.count(`SELECT count(*) FROM outbox WHERE provider_id = $1 AND message_id IS NOT NULL`, w.mailed()[0].ProviderID))
		})
	}
}

// Nothing is sent again, or given up, before two looks said the same.
func TestALookIsBelievedTheSecondTime(t *testing.T) {
	w := newMailWorld(t)
	id, in := w.wrote("ada@example.org")
	w.answer(id, "ada@example.org", in.ThreadID, "First.")
	list, err := w.outbox.Claim(t.Context(), support.Email, "w1", 1, time.Minute)
	require.NoError(t, err)
	o := list[0]
	found, err := w.mails.Lookup(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, support.Lookup{Unsent: true, Code: "no_draft"}, found, "nothing can have left")

	w.on("/drafts/send", 1, func(func() (*http.Response, error)) (*http.Response, error) { return answered(503) })
	_, err = w.mails.Send(t.Context(), o)
	var judged *support.SendError
	require.ErrorAs(t, err, &judged)
	require.True(t, judged.Unknown && judged.Down)
	require.NoError(t, w.pool.QueryRow(t.Context(), `SELECT draft_id FROM outbox`).Scan(&o.DraftID))

	first, err := w.mails.Lookup(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, 100*time.Millisecond, first.Again, "10 s at a hundredth")
	o.Error = first.Code
	second, err := w.mails.Lookup(t.Context(), o)
	require.NoError(t, err)
	require.True(t, second.Unsent)

	require.NoError(t, w.gmail.Control().Faults.Set(simctl.Fault{Vendor: "gmail", Kind: simctl.Error, Path: "/drafts/"}))
	_, err = w.mails.Lookup(t.Context(), o)
	require.ErrorIs(t, err, support.ErrUnavailable, "a look-up that fails decides nothing")
	w.gmail.Control().Faults.Heal()

	sent, err := w.mails.Send(t.Context(), o)
	require.NoError(t, err)
	found, err = w.mails.Lookup(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, support.Lookup{Found: true, ProviderID: sent, State: support.OutAccepted}, found)

	other := o
	other.Customer, other.Error = "0193f3b0-0000-7000-8000-000000000001", "draft_there" // of another reply: not found by its key
	gone, err := w.mails.Lookup(t.Context(), other)
	require.NoError(t, err)
	require.False(t, gone.Gone || gone.Unsent || gone.Found)
	require.Positive(t, gone.Again)
	other.Error = gone.Code
	gone, err = w.mails.Lookup(t.Context(), other)
	require.NoError(t, err)
	require.True(t, gone.Gone)
}
