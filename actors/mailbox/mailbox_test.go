package mailbox_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"fte/actors/mailbox"
	"fte/channel/email"
	"fte/channel/email/gmailtest"
	"fte/channel/simctl"
	"fte/persistence"
	"fte/persistence/persistencetest"
	"fte/support"
)

const ourMailbox = "support@fte.test"

// post is a simulated Gmail, a database and what lies between.
type post struct {
	t         *testing.T
	gmail     *gmailtest.Server
	api       *httptest.Server
	pool      *pgxpool.Pool
	keys      *persistence.Keys
	customers *persistence.Customers
	directory *persistence.Directory
	outbox    *persistence.Outbox
	accounts  *mailAccounts
	client    *email.Client
	mail      *hooked
	intake    *intake
	reg       *prometheus.Registry
}

func newPost(t *testing.T) *post {
	t.Helper()
	p := &post{t: t, pool: persistencetest.Pool(t), intake: &intake{}, reg: prometheus.NewRegistry()}
	var err error
	p.gmail, err = gmailtest.New(gmailtest.Config{Dir: t.TempDir(), Mailbox: ourMailbox, TimeScale: 0.01, UnitsPerMinute: -1, Auth: true,
		Audience: "fte", PushEmail: "pusher@p.test", Subscription: "projects/p/subscriptions/s"})
	require.NoError(t, err)
	p.api = httptest.NewServer(p.gmail)
	wire := &http.Transport{MaxIdleConnsPerHost: 8}
	t.Cleanup(func() { wire.CloseIdleConnections(); p.api.Close(); require.NoError(t, p.gmail.Close()) })
	p.keys, err = persistence.DevelopmentKeys(t.TempDir())
	require.NoError(t, err)
	p.customers, p.directory = persistence.NewCustomers(p.pool, p.keys, zap.NewNop()), persistence.NewDirectory(p.pool, p.keys, zap.NewNop())
	p.outbox = persistence.NewOutbox(p.pool, persistence.NewDEKs(p.pool, p.keys), zap.NewNop())
	p.accounts = &mailAccounts{Accounts: persistence.NewAccounts(p.pool)}
	p.client, err = email.NewClient(email.ClientConfig{Mailbox: ourMailbox, BaseURL: p.api.URL, TokenURL: p.api.URL + "/token", ClientID: "id", ClientSecret: "secret", RefreshToken: "refresh",
		Topic: "projects/p/topics/t", Client: &http.Client{Transport: wire}, Scale: 0.001, UnitsPerMinute: 10_000_000, Registerer: p.reg})
	require.NoError(t, err)
	box, err := email.NewMailbox(email.MailboxConfig{Client: p.client, Read: func(s email.Source) email.Mail { return email.Read(s, email.ReadConfig{Own: []string{ourMailbox}}) },
		Receipts: p.outbox, Sent: p.outbox, Replies: p.outbox, Suppressions: persistence.NewSuppressions(p.pool, p.keys), Known: p.directory.Known})
	require.NoError(t, err)
	p.mail = &hooked{Mail: box}
	_, err = p.accounts.LoadMailbox(t.Context(), ourMailbox)
	require.NoError(t, err)
	return p
}

// hooked lets a test step between an activation and Gmail.
type hooked struct {
	mailbox.Mail
	mu    sync.Mutex
	take  func(id string) error // nil: as it is
	watch func() (time.Time, error)
	added func() // before it
}

func (h *hooked) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

func (h *hooked) Take(ctx context.Context, id string) (support.Inbound, error) {
	h.mu.Lock()
	take := h.take
	h.mu.Unlock()
	if take != nil {
		if err := take(id); err != nil {
			return support.Inbound{}, err
		}
	}
	return h.Mail.Take(ctx, id)
}

func (h *hooked) Watch(ctx context.Context) (time.Time, error) {
	h.mu.Lock()
	watch := h.watch
	h.mu.Unlock()
	if watch != nil {
		return watch()
	}
	return h.Mail.Watch(ctx)
}

func (h *hooked) Added(ctx context.Context, since uint64) ([]string, uint64, error) {
	h.mu.Lock()
	added := h.added
	h.mu.Unlock()
	if added != nil {
		added()
	}
	return h.Mail.Added(ctx, since)
}

// mailAccounts counts loads, one a pass, and lets a test step in before commits.
type mailAccounts struct {
	*persistence.Accounts
	loads    atomic.Int32
	onCommit atomic.Pointer[func(c support.MailboxCommit) error]
}

func (a *mailAccounts) LoadMailbox(ctx context.Context, id string) (support.Mailbox, error) {
	a.loads.Add(1)
	return a.Accounts.LoadMailbox(ctx, id)
}

func (a *mailAccounts) CommitMailbox(ctx context.Context, c support.MailboxCommit) (support.Mailbox, error) {
	if on := a.onCommit.Load(); on != nil {
		if err := (*on)(c); err != nil {
			return support.Mailbox{}, err
		}
	}
	return a.Accounts.CommitMailbox(ctx, c)
}

// letter is a mail as it arrives.
func letter(from, subject, id string, more ...string) []byte {
	return []byte("From: " + from + "\r\nTo: " + ourMailbox + "\r\nSubject: " + subject + "\r\nMessage-ID: <" + id + ">\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n" +
		strings.Join(more, "") + "\r\nText of " + subject + ".\r\n")
}

func (p *post) arrives(raw []byte, with ...func(*gmailtest.Arrival)) (id, externalID string) {
	p.t.Helper()
	var a gmailtest.Arrival
	for _, w := range with {
		w(&a)
	}
	got, err := p.gmail.Inbound(raw, a)
	require.NoError(p.t, err)
	return got.ID, ourMailbox + "/" + got.ID
}

// write has a customer write a mail.
func (p *post) write(n int) (externalID string) {
	p.t.Helper()
	_, externalID = p.arrives(letter(fmt.Sprintf("c%d@example.org", n%7), fmt.Sprintf("Mail %d", n), fmt.Sprintf("m%d@example.org", n)))
	return externalID
}

// activate makes an activation and sends it a tick. Passes come every 60 ms.
func (p *post) activate(owner string, with ...func(*mailbox.MailboxConfig)) *activation {
	p.t.Helper()
	cfg := mailbox.MailboxConfig{Accounts: p.accounts, Publisher: p.intake, Mails: map[string]mailbox.Mail{ourMailbox: p.mail}, Scale: 0.001}
	for _, change := range with {
		change(&cfg)
	}
	m, err := mailbox.NewMailboxes(cfg)
	require.NoError(p.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	a := &activation{t: p.t, owner: owner, ctx: ctx, cancel: cancel, box: make(chan any, 64), stopped: make(chan struct{})}
	a.actor, err = m.Activate(ourMailbox, a)
	require.NoError(p.t, err)
	go a.run()
	p.t.Cleanup(a.stop)
	require.NoError(p.t, a.ask("tick"))
	return a
}

func (p *post) row() support.Mailbox {
	p.t.Helper()
	m, err := p.accounts.Mailbox(p.t.Context(), ourMailbox)
	require.NoError(p.t, err)
	return m
}

func (p *post) passes(n int32) {
	p.t.Helper()
	end := p.accounts.loads.Load() + n + 1
	require.Eventually(p.t, func() bool { return p.accounts.loads.Load() >= end }, patience, 5*time.Millisecond)
}

// took waits until exactly these were published, in this order.
func (p *post) took(ids ...string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return len(p.intake.ids()) >= len(ids) }, patience, 5*time.Millisecond, "published %v of %v", p.intake.ids(), ids)
	require.Equal(p.t, ids, p.intake.ids())
}

// stored stores a message as its customer's actor would.
func (p *post) stored(in support.Inbound) error {
	w := &world{t: p.t, pool: p.pool, customers: p.customers, directory: p.directory}
	return w.commit(in)
}

func never(c *mailbox.MailboxConfig) { c.Poll = 1000 * time.Hour }

func TestMailsAreTakenInOnceAndInOrder(t *testing.T) {
	p := newPost(t)
	var ids []string
	for n := range 3 {
		ids = append(ids, p.write(n)) // before there was a cursor
	}
	a := p.activate("w1")
	p.took(ids...)
	first := p.row()
	require.Equal(t, "w1", first.Owner)
	require.EqualValues(t, 1, first.Epoch)
	require.NotZero(t, first.Cursor)
	for n := range 4 {
		ids = append(ids, p.write(3+n))
	}
	p.took(ids...)
	p.passes(3)
	require.Equal(t, ids, p.intake.ids(), "nothing twice")
	require.Greater(t, p.row().Cursor, first.Cursor)

	in := p.intake.all()[3]
	require.Equal(t, support.Email, in.Channel)
	require.Equal(t, []support.Address{{Kind: support.KindEmail, Value: "c3@example.org"}}, in.From)
	require.Equal(t, "Mail 3", in.Subject)
	require.Equal(t, "Text of Mail 3.", in.Text)
	require.NotEmpty(t, in.Thread)
	require.Equal(t, support.ChannelVerified, in.Level)
	require.Equal(t, "c3@example.org", in.Envelope.ReplyTo)
	require.Equal(t, ourMailbox, in.Envelope.Account)
	require.Equal(t, "m3@example.org", in.Envelope.MessageID)
	require.WithinDuration(t, time.Now(), in.AcceptedAt, time.Minute)
	require.Empty(t, in.Ignore)
	require.Empty(t, in.Person)

	a.stop()
	p.activate("w2")
	p.passes(2)
	require.Equal(t, ids, p.intake.ids())
	require.EqualValues(t, 2, p.row().Epoch)
}

func TestAPushIsProcessedAtOnceAndADroppedOneByPolling(t *testing.T) {
	p := newPost(t)
	a := p.activate("w1", never)
	require.Eventually(t, func() bool { return p.row().Cursor > 0 }, patience, 5*time.Millisecond)
	push, err := email.NewPush(email.PushConfig{Mailboxes: []string{ourMailbox}, Subscription: "projects/p/subscriptions/s", Audience: "fte", Email: "pusher@p.test", CertsURL: p.api.URL + "/certs",
		Hinter: mailbox.NewHints(asker{a})})
	require.NoError(t, err)
	edge := httptest.NewServer(push)
	t.Cleanup(edge.Close)
	p.gmail.SetPushURL(edge.URL)

	// While the first one's pass ends a second comes, of which Gmail says nothing,
	// for it notifies once a second at most: it is looked for all the same.
	ending, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	on := func(support.MailboxCommit) error {
		if len(p.intake.ids()) > 0 { // not the commit of the pass before
			once.Do(func() { close(ending); <-proceed })
		}
		return nil
	}
	p.accounts.onCommit.Store(&on)
	id := p.write(1)
	require.Eventually(t, func() bool { // its own notification may be the one that is dropped
		select {
		case <-ending:
			return true
		default:
			_, err := p.gmail.Repeat(strings.TrimPrefix(id, ourMailbox+"/"))
			require.NoError(t, err)
			return false
		}
	}, patience, 300*time.Millisecond)
	p.gmail.SetPushURL("")
	second := p.write(2)
	close(proceed)
	p.took(id, second)
	a.stop()

	p.activate("w2")
	p.took(id, second, p.write(3))
}

// asker is a Requester whose every actor is one activation.
type asker struct{ to *activation }

func (a asker) Request(_ context.Context, kind, id string, msg []byte) ([]byte, error) {
	if kind != mailbox.KindMailbox || id != ourMailbox {
		return nil, errors.New("no such actor")
	}
	return msg, a.to.ask(string(msg))
}

func TestHintsInAnyOrderNeverMoveTheCursorBack(t *testing.T) {
	p := newPost(t)
	a := p.activate("w1", never)
	require.Eventually(t, func() bool { return p.row().Cursor > 0 }, patience, 5*time.Millisecond)
	var last atomic.Uint64
	on := func(c support.MailboxCommit) error {
		if before := last.Swap(max(c.Cursor, last.Load())); c.Cursor != 0 && c.Cursor < before {
			t.Errorf("cursor %d after %d", c.Cursor, before)
		}
		return nil
	}
	p.accounts.onCommit.Store(&on)
	hints := mailbox.NewHints(asker{a})
	var ids []string
	for n := range 10 {
		ids = append(ids, p.write(n))
		for _, at := range []uint64{9, 1, 5} {
			require.NoError(t, hints.Hint(t.Context(), ourMailbox, at))
		}
	}
	p.took(ids...)

	// A hint while a pass is under way has another follow.
	during, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	p.mail.set(func() {
		p.mail.added = func() { once.Do(func() { close(during); <-proceed }) }
	})
	require.NoError(t, hints.Hint(t.Context(), ourMailbox, 1))
	<-during
	loads := p.accounts.loads.Load()
	require.NoError(t, hints.Hint(t.Context(), ourMailbox, 1))
	close(proceed)
	require.Eventually(t, func() bool { return p.accounts.loads.Load() > loads }, patience, time.Millisecond)

	require.True(t, a.Post(drain{}))
	require.ErrorIs(t, hints.Hint(t.Context(), ourMailbox, 1), support.ErrRetry, "what moves takes no hints")
}

func TestACrashAmidTheHistoryLosesNothing(t *testing.T) {
	p := newPost(t)
	a := p.activate("w1")
	require.Eventually(t, func() bool { return p.row().Cursor > 0 }, patience, 5*time.Millisecond)
	before := p.row()
	reached := make(chan struct{}, 100)
	p.intake.mu.Lock()
	p.intake.before = func(in support.Inbound) error { // Kafka goes away after three
		if len(p.intake.ids()) >= 3 {
			reached <- struct{}{}
			return support.ErrUnavailable
		}
		return nil
	}
	p.intake.mu.Unlock()
	var ids []string
	for n := range 8 {
		ids = append(ids, p.write(n))
	}
	<-reached
	<-reached // once more: nothing is published twice meanwhile
	a.stop()
	require.Equal(t, ids[:3], p.intake.ids())
	require.Equal(t, before.Cursor, p.row().Cursor, "it waits for all of them")
	require.NoError(t, p.stored(p.intake.all()[0])) // one is known by now, two are on their way
	p.intake.before = nil
	p.activate("w2")
	want := slices.Concat(ids[:3], ids[1:])
	p.took(want...)
	require.Eventually(t, func() bool { return p.row().Cursor > before.Cursor }, patience, 5*time.Millisecond)
}

func TestAForgottenHistoryIsReadFromTheInbox(t *testing.T) {
	p := newPost(t)
	a := p.activate("w1")
	require.Eventually(t, func() bool { return p.row().Cursor > 0 }, patience, 5*time.Millisecond)
	a.stop()
	const all, known = 1200, 1160
	var ids []string
	for n := range all {
		ids = append(ids, p.write(n))
	}
	who, _, err := p.directory.CustomerAt(t.Context(), support.ChannelVerified, support.Address{Kind: support.KindEmail, Value: "c1@example.org"})
	require.NoError(t, err)
	_, err = p.pool.Exec(t.Context(), `INSERT INTO messages (customer_id, seq, direction, channel, external_id, level, sent_by, body, disposition, epoch, version)
		SELECT $1, n, 'in', 'email', id, 2, 'customer', '', 'turn', 1, 1 FROM unnest($2::text[]) WITH ORDINALITY AS k (id, n)`, string(who), ids[:known])
	require.NoError(t, err)
	expire(t, p.gmail)
	cursor := p.row().Cursor
	p.activate("w2")
	p.took(ids[known:]...)
	p.passes(3)
	require.Len(t, p.intake.ids(), all-known)
	require.Greater(t, p.row().Cursor, cursor)
}

func expire(t *testing.T, s *gmailtest.Server) {
	t.Helper()
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/_ctl/gmail/history", strings.NewReader(`{"expire":true}`)))
	require.Equal(t, http.StatusOK, rec.Code)
}

func TestOldMailAndCopiesAreStoredAndNotAnswered(t *testing.T) {
	p := newPost(t)
	_, old := p.arrives(letter("ada@example.org", "Old", "old@example.org"), func(a *gmailtest.Arrival) { a.At = time.Now().Add(-3 * time.Hour) })
	_, first := p.arrives(letter("ada@example.org", "New", "same@example.org"))
	p.activate("w1")
	p.took(old, first)
	_, copied := p.arrives(letter("ada@example.org", "New", "same@example.org", "List-X: y\r\n"))
	_, other := p.arrives(letter("bob@example.org", "New", "same@example.org"))
	p.took(old, first, copied, other)
	var why []string
	for _, in := range p.intake.all() {
		why = append(why, in.Ignore)
	}
	require.Equal(t, []string{"old", "", "duplicate", ""}, why)
}

func TestAMailThatCannotBeReadKeepsNobodyForEver(t *testing.T) {
	p := newPost(t)
	p.activate("w1")
	require.Eventually(t, func() bool { return p.row().Cursor > 0 }, patience, 5*time.Millisecond)
	known := make(chan struct{})
	var poison string
	var tries atomic.Int32
	p.mail.set(func() {
		p.mail.take = func(id string) error {
			<-known
			if id == poison {
				tries.Add(1)
				return errors.New("panic: it breaks us")
			}
			return nil
		}
	})
	var poisoned string
	poison, poisoned = p.arrives(letter("ada@example.org", "Poison", "p@example.org"))
	close(known)
	next := p.write(1)
	p.took(poisoned, next)
	require.EqualValues(t, 3, tries.Load())
	in := p.intake.all()[0]
	require.Equal(t, support.ReasonUnreadable, in.Person)
	require.Equal(t, "Poison", in.Subject)
	require.NotEmpty(t, in.Text)
	require.Equal(t, "ada@example.org", in.From[0].Value)
}

func TestAMailThatWasDeletedIsSkipped(t *testing.T) {
	p := newPost(t)
	p.activate("w1")
	require.Eventually(t, func() bool { return p.row().Cursor > 0 }, patience, 5*time.Millisecond)
	p.mail.set(func() {
		var gone atomic.Bool
		p.mail.take = func(string) error {
			if gone.CompareAndSwap(false, true) {
				return fmt.Errorf("read a mail: %w", support.ErrNotFound)
			}
			return nil
		}
	})
	cursor := p.row().Cursor
	p.write(1)
	require.Eventually(t, func() bool { return p.row().Cursor > cursor }, patience, 5*time.Millisecond)
	p.took(p.write(2))
}

func TestTheWatchIsRenewedAndNeverMovesTheCursor(t *testing.T) {
	p := newPost(t)
	var calls atomic.Int32
	var fails atomic.Bool
	p.mail.set(func() {
		p.mail.watch = func() (time.Time, error) {
			calls.Add(1)
			if fails.Load() {
				return time.Time{}, errors.New("forbidden")
			}
			return time.Now().Add(7 * 24 * time.Hour / 1000), nil // at the scale of the test
		}
	})
	a := p.activate("w1")
	require.Eventually(t, func() bool { return !p.row().WatchEnds.IsZero() }, patience, 5*time.Millisecond)
	first := p.row()
	require.NotZero(t, first.Cursor)
	p.passes(5)
	require.EqualValues(t, 1, calls.Load(), "once a day")
	require.Equal(t, first.Cursor, p.row().Cursor)
	a.stop()
	_, err := p.pool.Exec(t.Context(), `UPDATE mailboxes SET watch_ends = now() + interval '1 minute'`) // most of its life is over
	require.NoError(t, err)
	fails.Store(true)
	logs, seen := observer.New(zap.ErrorLevel)
	b := p.activate("w2", func(c *mailbox.MailboxConfig) { c.Logger = zap.New(logs) })
	require.Eventually(t, func() bool { return calls.Load() >= 3 }, patience, 5*time.Millisecond, "tried again")
	require.Equal(t, 1, seen.Len(), "a person is told, once")
	p.took(p.write(1)) // polling goes on
	fails.Store(false)
	ends := p.row().WatchEnds
	require.Eventually(t, func() bool { return p.row().WatchEnds.After(ends) }, patience, 5*time.Millisecond)
	b.stop()
	calls.Store(0)
	p.activate("w3")
	p.passes(3)
	require.Zero(t, calls.Load(), "another owner knows when it ends")
}

func TestRefusedCredentialsAreSeenAndHealed(t *testing.T) {
	p := newPost(t)
	grant := func(invalid bool) {
		rec := httptest.NewRecorder()
		p.gmail.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/_ctl/gmail/token", strings.NewReader(fmt.Sprintf(`{"invalid_grant":%t}`, invalid))))
		require.Equal(t, http.StatusOK, rec.Code)
	}
	require.NoError(t, p.client.Check(t.Context()))
	p.activate("w1")
	p.took(p.write(1))
	grant(true)
	require.Eventually(t, func() bool { ok, _ := p.client.Healthy(); return !ok }, patience, 5*time.Millisecond)
	_, why := p.client.Healthy()
	require.Contains(t, why, "invalid_grant")
	require.ErrorIs(t, p.client.Check(t.Context()), support.ErrUnavailable)
	late := p.write(2)
	grant(false)
	require.Eventually(t, func() bool { return slices.Contains(p.intake.ids(), late) }, patience, 5*time.Millisecond)
	ok, _ := p.client.Healthy()
	require.True(t, ok)
}

func TestGmailAwayForAWhile(t *testing.T) {
	p := newPost(t)
	p.activate("w1")
	require.Eventually(t, func() bool { return p.row().Cursor > 0 }, patience, 5*time.Millisecond)
	for _, f := range []simctl.Fault{{Kind: simctl.Error, Rate: 0.4}, {Kind: simctl.Garbage, Rate: 0.1}} {
		f.Vendor = "gmail"
		require.NoError(t, p.gmail.Control().Faults.Set(f))
	}
	var ids []string
	for n := range 30 {
		ids = append(ids, p.write(n))
	}
	p.passes(5)
	p.gmail.Control().Faults.Heal()
	p.took(ids...)
}

// A reply whose recipient does not exist comes back: the reply is undelivered,
// the address suppressed, and what told it stored.
func TestABounceEndsItsReply(t *testing.T) {
	p := newPost(t)
	sender, err := email.NewSender(email.SenderConfig{Client: p.client, Drafts: p.outbox})
	require.NoError(t, err)
	who, _, err := p.directory.CustomerAt(t.Context(), support.ChannelVerified, support.Address{Kind: support.KindEmail, Value: "bounce@example.org"})
	require.NoError(t, err)
	_, err = p.customers.Commit(t.Context(), support.Commit{Customer: who, Epoch: 1, Owner: "w",
		Messages: []support.Message{{Seq: 1, Direction: support.Out, Channel: support.Email, Level: support.ChannelVerified, By: support.ByAgent, Subject: "Hi", Body: "Answer."}},
		Outbox:   []support.OutboxWrite{{Seq: 1, Kind: support.KindAnswer, Channel: support.Email, To: "bounce@example.org", Units: 1}}})
	require.NoError(t, err)
	list, err := p.outbox.Claim(t.Context(), support.Email, "w", 1, time.Minute)
	require.NoError(t, err)
	id, err := sender.Send(t.Context(), list[0])
	require.NoError(t, err)
	_, err = p.outbox.Settle(t.Context(), list[0], support.Settlement{To: support.OutAccepted, ProviderID: id})
	require.NoError(t, err)

	forged := "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nfailed\r\n" +
		"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\nFinal-Recipient: rfc822; victim@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n" +
		"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nX-FTE-Key: %s\r\n--b--\r\n"
	_, _, err = p.directory.CustomerAt(t.Context(), support.ChannelVerified, support.Address{Kind: support.KindEmail, Value: "victim@example.org"})
	require.NoError(t, err)
	for _, key := range []string{"nobody:1", "", support.Key("0193f3b0-0000-7000-8000-000000000001", 1), list[0].Key()} {
		p.arrives(letter("mailer-daemon@evil.test", "Failure", "forged"+key+"@evil.test", fmt.Sprintf(forged, key)))
	}
	p.activate("w1")
	count := func(sql string) (n int) {
		require.NoError(t, p.pool.QueryRow(context.Background(), sql).Scan(&n))
		return n
	}
	require.Eventually(t, func() bool { return count(`SELECT count(*) FROM suppressions`) == 1 }, patience, 5*time.Millisecond)
	require.Equal(t, 1, count(`SELECT count(*) FROM outbox WHERE state = 'undelivered' AND error LIKE '5.%'`))
	require.Equal(t, 1, count(`SELECT count(*) FROM wakes`), "its actor hears of it")
	require.Eventually(t, func() bool { return len(p.intake.ids()) == 5 }, patience, 5*time.Millisecond)
	for _, in := range p.intake.all() {
		require.Equal(t, "bounce", in.Ignore)
	}
}

func TestADomainOfStrangersIsAnsweredSoOften(t *testing.T) {
	p := newPost(t)
	known := support.Address{Kind: support.KindEmail, Value: "friend@flood.test"}
	_, _, err := p.directory.CustomerAt(t.Context(), support.ChannelVerified, known)
	require.NoError(t, err)
	p.activate("w1", func(c *mailbox.MailboxConfig) { c.Rates, c.Known = true, p.directory.Known })
	require.Eventually(t, func() bool { return p.row().Cursor > 0 }, patience, 5*time.Millisecond)
	var ids []string
	for n := range 25 {
		_, id := p.arrives(letter(fmt.Sprintf("stranger%d@flood.test", n), "Hello", fmt.Sprintf("s%d@flood.test", n)))
		ids = append(ids, id)
	}
	for _, from := range []string{known.Value, "ada@example.org"} {
		_, id := p.arrives(letter(from, "Hello", "h"+from))
		ids = append(ids, id)
	}
	p.took(ids...)
	for n, in := range p.intake.all() {
		switch {
		case n == 20:
			require.Equal(t, support.ReasonRate, in.Person, "a person is told, once")
			require.Empty(t, in.Envelope.ReplyTo, "the sender is not")
		case n > 20 && n < 25:
			require.Equal(t, "rate", in.Ignore)
		default:
			require.Empty(t, in.Ignore, n)
			require.Empty(t, in.Person, n)
		}
	}
}

func TestMailboxesAreChecked(t *testing.T) {
	p := newPost(t)
	for _, bad := range []mailbox.MailboxConfig{{}, {Accounts: p.accounts, Publisher: p.intake}, {Accounts: p.accounts, Publisher: p.intake, Mails: map[string]mailbox.Mail{ourMailbox: p.mail}, Scale: -1},
		{Accounts: p.accounts, Publisher: p.intake, Mails: map[string]mailbox.Mail{ourMailbox: p.mail}, Rates: true}} {
		_, err := mailbox.NewMailboxes(bad)
		require.Error(t, err)
	}
	m, err := mailbox.NewMailboxes(mailbox.MailboxConfig{Accounts: p.accounts, Publisher: p.intake, Mails: map[string]mailbox.Mail{ourMailbox: p.mail}})
	require.NoError(t, err)
	_, err = m.Activate("other@fte.test", nil)
	require.ErrorIs(t, err, support.ErrNotFound)
}
