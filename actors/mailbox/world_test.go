package mailbox_test

import (
	"context"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"fte/actors/mailbox"
	"fte/channel/simctl"
	"fte/channel/whatsapp"
	"fte/channel/whatsapp/twiliotest"
	"fte/persistence"
	"fte/persistence/persistencetest"
	"fte/support"
)

const (
	accountSID = "AC00000000000000000000000000000001"
	authToken  = "token"
	ourNumber  = "whatsapp:+14155238886"
)

// patience is how long a test waits for what takes a moment.
const patience = 30 * time.Second

// world is a vendor, a database and what lies between.
type world struct {
	t         *testing.T
	vendor    *twiliotest.Server
	lister    mailbox.Lister
	pool      *pgxpool.Pool
	customers *persistence.Customers
	directory *persistence.Directory
	accounts  *accounts
	intake    *intake
}

func newWorld(t *testing.T) *world {
	t.Helper()
	vendor, err := twiliotest.New(twiliotest.Config{Dir: t.TempDir(), AccountSID: accountSID, AuthToken: authToken, Number: ourNumber})
	require.NoError(t, err)
	web := httptest.NewServer(vendor)
	t.Cleanup(func() { web.Close(); require.NoError(t, vendor.Close()) })
	sender, err := whatsapp.NewSender(whatsapp.SenderConfig{AccountSID: accountSID, AuthToken: authToken, Number: ourNumber, PublicURL: "https://fte.test", BaseURL: web.URL,
		Taken: func(context.Context, string) (bool, error) { return false, nil }})
	require.NoError(t, err)
	pool := persistencetest.Pool(t)
	keys, err := persistence.DevelopmentKeys(t.TempDir())
	require.NoError(t, err)
	w := &world{t: t, vendor: vendor, lister: sender, pool: pool, intake: &intake{},
		customers: persistence.NewCustomers(pool, keys, zap.NewNop()), directory: persistence.NewDirectory(pool, keys, zap.NewNop())}
	w.accounts = &accounts{Accounts: persistence.NewAccounts(pool)}
	// Everything below came after the number was first activated.
	_, err = w.accounts.LoadNumber(t.Context(), ourNumber)
	require.NoError(t, err)
	return w
}

// write has a customer write whose webhook does not come through.
func (w *world) write(from, text string) (sid string) {
	w.t.Helper()
	sid, status, err := w.vendor.Inbound(url.Values{"From": {"whatsapp:" + from}, "Body": {text}})
	require.NoError(w.t, err)
	require.Zero(w.t, status, "no webhook")
	return sid
}

// listed returns what the vendor lists of the given sids, in that order.
func (w *world) listed(sids ...string) []support.Inbound {
	w.t.Helper()
	list, err := w.lister.List(w.t.Context(), time.Now().Add(-time.Hour))
	require.NoError(w.t, err)
	out := make([]support.Inbound, len(sids))
	for _, in := range list {
		if i := slices.Index(sids, in.ExternalID); i >= 0 {
			out[i] = in
		}
	}
	return out
}

// commit stores a message as its customer's actor would; a second time it is the
// duplicate that the commit meets.
func (w *world) commit(in support.Inbound) error {
	id, _, err := w.directory.CustomerAt(context.Background(), in.Level, in.From...)
	if err != nil {
		return err
	}
	s, err := w.customers.Load(context.Background(), id)
	if err != nil {
		return err
	}
	_, err = w.customers.Commit(context.Background(), support.Commit{
		Customer: id, Version: s.Customer.Version, Epoch: s.Customer.Epoch + 1, Owner: "w", LastSeq: s.Customer.LastSeq,
		Messages: []support.Message{{Seq: s.Customer.LastSeq + 1, Direction: support.In, Channel: in.Channel, ExternalID: in.ExternalID, From: in.From[0], Level: in.Level,
			By: support.ByCustomer, Body: in.Text, Envelope: in.Envelope, Disposition: support.ForTurn, AcceptedAt: in.AcceptedAt}},
	})
	return err
}

func (w *world) row() (n support.Number) {
	w.t.Helper()
	n, err := w.accounts.Accounts.(*persistence.Accounts).LoadNumber(w.t.Context(), ourNumber)
	require.NoError(w.t, err)
	return n
}

// backdate makes the number's mark older than anything written here.
func (w *world) backdate(by time.Duration) support.Number {
	w.t.Helper()
	_, err := w.pool.Exec(w.t.Context(), `UPDATE numbers SET mark = mark - $1::interval`, by)
	require.NoError(w.t, err)
	return w.row()
}

// accounts lets a test step between an activation and the database.
type accounts struct {
	mailbox.Accounts
	onMissing func(missing []string)
	onCommit  func(ctx context.Context, c support.NumberCommit, do func() (support.Number, error)) (support.Number, error)
	commits   atomic.Int32 // that succeeded
}

func (a *accounts) Missing(ctx context.Context, ch support.Channel, ids []string) ([]string, error) {
	missing, err := a.Accounts.Missing(ctx, ch, ids)
	if err == nil && a.onMissing != nil {
		a.onMissing(missing)
	}
	return missing, err
}

func (a *accounts) CommitNumber(ctx context.Context, c support.NumberCommit) (n support.Number, err error) {
	do := func() (support.Number, error) { return a.Accounts.CommitNumber(ctx, c) }
	if a.onCommit != nil {
		n, err = a.onCommit(ctx, c, do)
	} else {
		n, err = do()
	}
	if err == nil {
		a.commits.Add(1)
	}
	return n, err
}

// intake is what is durable once it is published.
type intake struct {
	mu        sync.Mutex
	published []support.Inbound
	before    func(in support.Inbound) error // nil: everything is taken
	then      func(in support.Inbound) error // nil: it stays there
}

func (i *intake) Publish(_ context.Context, in support.Inbound) error {
	if i.before != nil {
		if err := i.before(in); err != nil {
			return err
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.published = append(i.published, in)
	if i.then != nil {
		return i.then(in)
	}
	return nil
}

// all is what was published, in order.
func (i *intake) all() []support.Inbound {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.published)
}

func (i *intake) ids() []string {
	ids := []string{}
	for _, in := range i.all() {
		ids = append(ids, in.ExternalID)
	}
	return ids
}

// numbers makes activations whose passes come every 30 ms, unless with says
// otherwise.
func (w *world) numbers(with ...func(*mailbox.NumberConfig)) *mailbox.Numbers {
	w.t.Helper()
	cfg := mailbox.NumberConfig{Accounts: w.accounts, Publisher: w.intake, Listers: map[string]mailbox.Lister{ourNumber: w.lister}, Scale: 0.0001, Registerer: prometheus.NewRegistry()}
	for _, change := range with {
		change(&cfg)
	}
	n, err := mailbox.NewNumbers(cfg)
	require.NoError(w.t, err)
	return n
}

// activation runs an Actor as the cluster would: one call at a time.
type activation struct {
	t       *testing.T
	actor   *mailbox.Actor
	owner   string
	ctx     context.Context
	cancel  context.CancelFunc
	box     chan any
	stopped chan struct{} // closed when the actor was told to stop, and did
	busy    atomic.Bool

	mu   sync.Mutex // guards over
	over bool
}

type (
	request struct {
		msg   string
		reply chan error
	}
	quit  struct{}
	drain struct{}
)

func (a *activation) Post(msg any) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.over {
		a.box <- msg
	}
	return !a.over
}

func (a *activation) Busy(busy bool)           { a.busy.Store(busy) }
func (a *activation) Context() context.Context { return a.ctx }
func (a *activation) Owner() string            { return a.owner }

func (a *activation) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.over {
		a.over = true
		a.box <- quit{}
	}
}

func (a *activation) run() {
	defer close(a.stopped)
	for msg := range a.box {
		switch m := msg.(type) {
		case request:
			_, err := a.actor.Receive(a.ctx, []byte(m.msg))
			m.reply <- err
		case drain:
			a.actor.Drain(a.ctx)
		case quit:
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			a.actor.Stop(ctx)
			a.cancel()
			return
		default:
			a.actor.Posted(a.ctx, m)
		}
	}
}

func (a *activation) ask(msg string) error {
	reply := make(chan error, 1)
	if !a.Post(request{msg, reply}) {
		return support.ErrRetry
	}
	return <-reply
}

// stop stops the activation and waits for it.
func (a *activation) stop() {
	a.Stop()
	a.ended()
}

func (a *activation) ended() {
	a.t.Helper()
	select {
	case <-a.stopped:
	case <-time.After(patience):
		require.Fail(a.t, "the activation did not stop")
	}
}

// activate makes an activation and sends it a tick.
func (w *world) activate(n *mailbox.Numbers, owner string) *activation {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a := &activation{t: w.t, owner: owner, ctx: ctx, cancel: cancel, box: make(chan any, 64), stopped: make(chan struct{})}
	var err error
	a.actor, err = n.Activate(ourNumber, a)
	require.NoError(w.t, err)
	go a.run()
	w.t.Cleanup(a.stop)
	require.NoError(w.t, a.ask("tick"))
	return a
}

// passes waits until n more passes committed.
func (w *world) passes(n int32) {
	w.t.Helper()
	end := w.accounts.commits.Load() + n
	require.Eventually(w.t, func() bool { return w.accounts.commits.Load() >= end }, patience, 5*time.Millisecond)
}

// away makes the vendor's API fail until heal is called.
func (w *world) away(f simctl.Fault) (heal func()) {
	f.Vendor = "twilio"
	require.NoError(w.t, w.vendor.Control().Faults.Set(f))
	return w.vendor.Control().Faults.Heal
}
