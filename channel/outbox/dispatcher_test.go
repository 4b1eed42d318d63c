package outbox_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf16"

	"fte/channel/outbox"
	"fte/channel/simctl"
	"fte/channel/whatsapp"
	"fte/channel/whatsapp/twiliotest"
	"fte/persistence"
	"fte/persistence/persistencetest"
	"fte/support"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

const (
	account = "AC00000000000000000000000000000001"
	token   = "0123456789abcdef0123456789abcdef"
	number  = "whatsapp:+14155238886"
	patient = time.Minute // how long tests wait for what must happen
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }

// world is a database, a simulated vendor and the edge that takes its receipts.
type world struct {
	t      testing.TB
	pool   *pgxpool.Pool
	store  *persistence.Customers
	dir    *persistence.Directory
	outbox *persistence.Outbox
	vendor *twiliotest.Server
	sender *whatsapp.Sender
	deaf   atomic.Bool // the edge takes no receipts
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, pool: persistencetest.Pool(t)}
	keys, err := persistence.DevelopmentKeys(t.TempDir())
	require.NoError(t, err)
	w.store, w.dir = persistence.NewCustomers(w.pool, keys, zap.NewNop()), persistence.NewDirectory(w.pool, keys, zap.NewNop())
	w.outbox = persistence.NewOutbox(w.pool, persistence.NewDEKs(w.pool, keys), zap.NewNop())

	var decoder *whatsapp.Decoder
	edge := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		receipt, err := decoder.DecodeStatus(support.Request{Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: r.Header, Body: body})
		if err == nil && !w.deaf.Load() {
			err = w.outbox.Receipt(r.Context(), receipt)
		}
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
		}
	}))
	t.Cleanup(edge.Close)
	decoder, err = whatsapp.New(whatsapp.Config{PublicURL: edge.URL, AccountSID: account, AuthTokens: []string{token}, Number: number})
	require.NoError(t, err)

	w.vendor, err = twiliotest.New(twiliotest.Config{Dir: t.TempDir(), AccountSID: account, AuthToken: token, Number: number, TimeScale: 0.05})
	require.NoError(t, err)
	api := httptest.NewServer(w.vendor)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
	t.Cleanup(func() { client.CloseIdleConnections(); api.Close(); require.NoError(t, w.vendor.Close()) })
	w.sender, err = whatsapp.NewSender(whatsapp.SenderConfig{AccountSID: account, AuthToken: token, Number: number, PublicURL: edge.URL, BaseURL: api.URL, Client: client,
		Taken: func(ctx context.Context, sid string) (bool, error) {
			return w.outbox.Recorded(ctx, support.WhatsApp, sid)
		}})
	require.NoError(t, err)
	return w
}

// units counts as WhatsApp does; the real counter is the agent's.
func units(_ support.Channel, text string) int { return len(utf16.Encode([]rune(text))) }

// dispatch runs a dispatcher until the test ends, or until the returned stop.
func (w *world) dispatch(name string, change func(*outbox.Config)) (*outbox.Dispatcher, *prometheus.Registry, func()) {
	w.t.Helper()
	reg := prometheus.NewRegistry()
	c := outbox.Config{Store: w.outbox, Senders: map[support.Channel]outbox.Sender{support.WhatsApp: w.sender}, Worker: name, Units: units,
		LeaseOK: func() bool { return true }, TimeScale: 0.01, Poll: 40 * time.Millisecond, Registerer: reg}
	if change != nil {
		change(&c)
	}
	d, err := outbox.New(c)
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stopped := false
	stop := func() {
		if cancel(); !stopped {
			stopped = true
			require.NoError(w.t, <-done)
		}
	}
	w.t.Cleanup(stop)
	return d, reg, stop
}

// customer makes a customer who is reached at the address.
func (w *world) customer(n int) (support.CustomerID, string) {
	w.t.Helper()
	phone := fmt.Sprintf("+1555%07d", n)
	id, _, err := w.dir.CustomerAt(w.t.Context(), support.ChannelVerified, support.Address{Kind: support.KindPhone, Value: phone})
	require.NoError(w.t, err)
	return id, "whatsapp:" + phone
}

// reply commits replies of a kind to a customer.
func (w *world) reply(id support.CustomerID, to string, kind support.OutboxKind, texts ...string) {
	w.t.Helper()
	snapshot, err := w.store.Load(w.t.Context(), id)
	require.NoError(w.t, err)
	c := w.commit(snapshot)
	for i, text := range texts {
		seq := c.LastSeq + int64(i) + 1
		c.Messages = append(c.Messages, support.Message{Seq: seq, Direction: support.Out, Channel: support.WhatsApp, Level: support.ChannelVerified, By: support.ByAgent, Body: text})
		c.Outbox = append(c.Outbox, support.OutboxWrite{Seq: seq, Kind: kind, Channel: support.WhatsApp, To: to, Units: min(units("", text), 300)})
	}
	_, err = w.store.Commit(w.t.Context(), c)
	require.NoError(w.t, err)
}

func (w *world) commit(s support.Snapshot) support.Commit {
	return support.Commit{Customer: s.Customer.ID, Version: s.Customer.Version, Epoch: s.Customer.Epoch + 1, Owner: "owner", LastSeq: s.Customer.LastSeq, Mode: support.ModeBot}
}

func (w *world) sent() []simctl.Sent { return w.vendor.Control().Sent.List("whatsapp", "", 0) }

func (w *world) fault(f simctl.Fault) {
	w.t.Helper()
	f.Vendor = "twilio"
	require.NoError(w.t, w.vendor.Control().Faults.Set(f))
}

func (w *world) count(sql string, args ...any) (n int) {
	w.t.Helper()
	require.NoError(w.t, w.pool.QueryRow(w.t.Context(), sql, args...).Scan(&n))
	return n
}

// settles waits until every row is in one of the states.
func (w *world) settles(states ...support.OutboxState) {
	w.t.Helper()
	list := make([]string, len(states))
	for i, s := range states {
		list[i] = string(s)
	}
	require.Eventually(w.t, func() bool { return w.count(`SELECT count(*) FROM outbox WHERE state <> ALL ($1)`, list) == 0 }, patient, 20*time.Millisecond)
}

// once checks that no key was sent twice and that each customer's came in order.
func (w *world) once() {
	w.t.Helper()
	seen, last := map[string]bool{}, map[support.CustomerID]int64{}
	for _, s := range w.sent() {
		require.False(w.t, seen[s.Key], "key %s was sent twice", s.Key)
		seen[s.Key] = true
		id, seq, err := support.ParseKey(s.Key)
		require.NoError(w.t, err)
		require.Greater(w.t, seq, last[id], "replies of %s are out of order", id)
		last[id] = seq
	}
}

func TestRepliesAreDelivered(t *testing.T) {
	w := newWorld(t)
	d, reg, _ := w.dispatch("w1", nil)
	id, to := w.customer(1)
	w.reply(id, to, support.KindAnswer, "one", "two")
	d.Kick()
	w.settles(support.OutDelivered)
	require.Len(t, w.sent(), 2)
	w.once()
	require.Equal(t, "one", w.sent()[0].Text)
	require.Eventually(t, func() bool { return gathered(t, reg, "fte_outbox_sends_total", "whatsapp") == 2 }, patient, 5*time.Millisecond)
	require.Zero(t, gathered(t, reg, "fte_outbox_double_risk_total", "whatsapp"))
}

func TestKickSendsAtOnce(t *testing.T) {
	w := newWorld(t)
	d, _, _ := w.dispatch("w1", func(c *outbox.Config) { c.Poll = time.Hour })
	id, to := w.customer(1)
	w.reply(id, to, support.KindAnswer, "one", "two", "three")
	d.Kick()
	require.Eventually(t, func() bool { return len(w.sent()) == 3 }, patient, 10*time.Millisecond, "each send kicks the next")
}

// TW-11: accepted, but the answer was cut, and no callback comes: one message.
func TestAcceptedThenCutIsOneMessage(t *testing.T) {
	for name, deaf := range map[string]bool{"a look-up finds it": true, "a callback tells of it": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.deaf.Store(deaf)
			w.fault(simctl.Fault{Kind: simctl.AcceptThenCut, Method: "POST"})
			id, to := w.customer(1)
			w.reply(id, to, support.KindAnswer, "one", "two", "three")
			w.dispatch("w1", nil)
			w.settles(support.OutAccepted, support.OutSent, support.OutDelivered)
			require.Len(t, w.sent(), 3)
			w.once()
		})
	}
}

func TestARefusedConnectionIsRetried(t *testing.T) {
	w := newWorld(t)
	broken := httptest.NewServer(http.NotFoundHandler())
	broken.Close() // nobody listens there
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	nobody, err := whatsapp.NewSender(whatsapp.SenderConfig{AccountSID: account, AuthToken: token, Number: number, PublicURL: "https://x", BaseURL: broken.URL, Client: client,
		Taken: func(context.Context, string) (bool, error) { return false, nil }})
	require.NoError(t, err)
	id, to := w.customer(1)
	w.reply(id, to, support.KindAnswer, "one")
	_, _, stop := w.dispatch("w1", func(c *outbox.Config) { c.Senders[support.WhatsApp] = nobody })
	require.Eventually(t, func() bool { return w.count(`SELECT attempt FROM outbox WHERE state IN ('pending', 'sending')`) >= 8 }, patient, 10*time.Millisecond)
	require.Zero(t, w.count(`SELECT refusals + resends FROM outbox`), "a vendor that is away uses nothing up")
	stop()
	w.dispatch("w2", nil)
	w.settles(support.OutDelivered)
	require.Len(t, w.sent(), 1)
}

func TestProvedAbsentIsSentAgainOnce(t *testing.T) {
	t.Run("then it is delivered", func(t *testing.T) {
		w := newWorld(t)
		w.fault(simctl.Fault{Kind: simctl.Error, Status: 503, Method: "POST"})
		id, to := w.customer(1)
		w.reply(id, to, support.KindAnswer, "one", "two")
		w.dispatch("w1", func(c *outbox.Config) { c.LookIn = 300 * time.Millisecond })
		require.Eventually(t, func() bool { return w.count(`SELECT count(*) FROM outbox WHERE state = 'unknown'`) == 1 }, patient, 5*time.Millisecond)
		w.vendor.Control().Faults.Heal()
		w.settles(support.OutDelivered)
		require.Equal(t, 1, w.count(`SELECT resends FROM outbox WHERE seq = 1`))
		require.Len(t, w.sent(), 2)
		w.once()
	})
	t.Run("or it is a person's", func(t *testing.T) {
		w := newWorld(t)
		w.fault(simctl.Fault{Kind: simctl.Garbage, Method: "POST"})
		id, to := w.customer(1)
		w.reply(id, to, support.KindAnswer, "one")
		w.dispatch("w1", nil)
		w.settles(support.OutDead)
		require.Equal(t, 1, w.count(`SELECT resends FROM outbox`))
		require.EqualValues(t, 2, w.vendor.Control().Faults.List()[0].Fired, "two attempts and no more")
		require.Equal(t, 1, w.count(`SELECT count(*) FROM wakes WHERE due <= now()`))
	})
}

func TestRefusalsOfTheVendor(t *testing.T) {
	w := newWorld(t)
	id, to := w.customer(1)
	other, toOther := w.customer(2)
	w.vendor.Refuse(twiliotest.Refusal{To: to, Code: 21610})
	w.vendor.Refuse(twiliotest.Refusal{To: toOther, Code: 29999})
	w.reply(id, to, support.KindAnswer, "opted out")
	w.reply(other, toOther, support.KindAnswer, "might heal")
	w.dispatch("w1", func(c *outbox.Config) { c.TimeScale = 0.0001 })
	w.settles(support.OutFailed, support.OutDead)
	require.Equal(t, 1, w.count(`SELECT count(*) FROM outbox WHERE customer_id = $1 AND state = 'failed' AND error = '21610' AND attempt = 1`, string(id)))
	require.Equal(t, 1, w.count(`SELECT count(*) FROM outbox WHERE customer_id = $1 AND state = 'dead' AND refusals = 10`, string(other)))
	require.Empty(t, w.sent())
}

func TestAsyncFailureComesByCallback(t *testing.T) {
	w := newWorld(t)
	id, to := w.customer(1)
	w.vendor.Refuse(twiliotest.Refusal{To: to, Code: 63016, Async: true})
	w.reply(id, to, support.KindAnswer, "too late")
	w.dispatch("w1", nil)
	w.settles(support.OutUndelivered)
	require.Equal(t, 1, w.count(`SELECT count(*) FROM outbox WHERE error = '63016'`))
	require.Equal(t, 1, w.count(`SELECT count(*) FROM wakes WHERE due <= now()`))
}

// LN-04: whatever path a text took, one over the limit is not sent.
func TestTheLimitIsCountedAgain(t *testing.T) {
	w := newWorld(t)
	id, to := w.customer(1)
	w.reply(id, to, support.KindPerson, strings.Repeat("x", 301))
	w.reply(id, to, support.KindAnswer, strings.Repeat("x", 300))
	w.dispatch("w1", nil)
	w.settles(support.OutFailed, support.OutDelivered)
	require.Len(t, w.sent(), 1)
	require.Len(t, w.sent()[0].Text, 300)
}

func TestNothingIsSentWithoutALease(t *testing.T) {
	w := newWorld(t)
	id, to := w.customer(1)
	w.reply(id, to, support.KindAnswer, "one")
	var lease atomic.Bool
	var asked atomic.Int64
	w.dispatch("w1", func(c *outbox.Config) {
		c.LeaseOK = func() bool { asked.Add(1); return lease.Load() }
	})
	require.Eventually(t, func() bool { return asked.Load() > 5 }, patient, 5*time.Millisecond)
	require.Empty(t, w.sent())
	require.Zero(t, w.count(`SELECT attempt FROM outbox`), "it claims nothing either")
	lease.Store(true)
	w.settles(support.OutDelivered)
}

// A lease that ends between the claim and the request's first byte.
func TestALeaseThatEndsBeforeTheFirstByte(t *testing.T) {
	w := newWorld(t)
	id, to := w.customer(1)
	w.reply(id, to, support.KindAnswer, "one")
	slept := &sleeper{Sender: w.sender}
	var lease atomic.Bool
	lease.Store(true)
	slept.before = func() { lease.Store(false) } // the dispatcher has checked; the sender has not written
	w.dispatch("w1", func(c *outbox.Config) {
		c.Senders[support.WhatsApp], c.LeaseOK = slept, lease.Load
	})
	require.Eventually(t, func() bool {
		return w.count(`SELECT count(*) FROM outbox WHERE attempt = 1 AND state = 'pending'`) == 1
	}, patient, 5*time.Millisecond)
	require.Empty(t, w.sent())
}

// sleeper runs before, or between the send and its report, once.
type sleeper struct {
	outbox.Sender
	before, after func()
	slept         atomic.Bool
}

func (s *sleeper) Send(ctx context.Context, o support.Outbound) (string, error) {
	once := !s.slept.Swap(true)
	if once && s.before != nil {
		s.before()
	}
	id, err := s.Sender.Send(ctx, o)
	if once && s.after != nil {
		s.after()
	}
	return id, err
}

// A sender frozen past its claim: the window that is counted, not promised away.
func TestASendWhoseClaimPassedOnIsCounted(t *testing.T) {
	w := newWorld(t)
	w.deaf.Store(true)
	id, to := w.customer(1)
	w.reply(id, to, support.KindAnswer, "one")
	slept := &sleeper{Sender: w.sender}
	slept.after = func() { // frozen: the claim ends, another looks, finds nothing yet and resends
		_, err := w.pool.Exec(context.Background(), `UPDATE outbox SET state = 'pending', attempt = attempt + 1, resends = 1, claim_ends = NULL`)
		require.NoError(t, err)
	}
	_, reg, _ := w.dispatch("w1", func(c *outbox.Config) { c.Senders[support.WhatsApp] = slept })
	w.settles(support.OutAccepted)
	require.Len(t, w.sent(), 2)
	require.Eventually(t, func() bool {
		return gathered(t, reg, "fte_outbox_double_risk_total", "whatsapp") == 1
	}, patient, 5*time.Millisecond)
}

// gathered is a counter's sum over one channel.
func gathered(t *testing.T, reg *prometheus.Registry, name, channel string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == channel {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// The bot does not talk over a person: after the take-over nothing leaves.
func TestStoppedRepliesNeverLeave(t *testing.T) {
	w := newWorld(t)
	w.fault(simctl.Fault{Kind: simctl.Error, Status: 429})
	id, to := w.customer(1)
	w.reply(id, to, support.KindAnswer, "one", "two")
	w.dispatch("w1", nil)
	require.Eventually(t, func() bool { return w.count(`SELECT attempt FROM outbox WHERE seq = 1`) > 0 }, patient, 5*time.Millisecond)
	snapshot, err := w.store.Load(t.Context(), id)
	require.NoError(t, err)
	c := w.commit(snapshot)
	c.StopAgent = true
	_, err = w.store.Commit(t.Context(), c)
	require.NoError(t, err)
	w.vendor.Control().Faults.Heal()
	w.settles(support.OutCancelled)
	w.reply(id, to, support.KindPerson, "a person here")
	require.Eventually(t, func() bool { return len(w.sent()) == 1 }, patient, 5*time.Millisecond)
	require.Equal(t, "a person here", w.sent()[0].Text)
}

func TestDrainSettlesWhatIsUnderWay(t *testing.T) {
	w := newWorld(t)
	w.fault(simctl.Fault{Kind: simctl.Slow, Delay: 300 * time.Millisecond, Method: "POST"})
	for i := range 3 {
		id, to := w.customer(i)
		w.reply(id, to, support.KindAnswer, "one", "two")
	}
	_, _, stop := w.dispatch("w1", nil)
	require.Eventually(t, func() bool { return w.vendor.Control().Faults.List()[0].Fired == 3 }, patient, time.Millisecond, "three requests are at the vendor")
	stop()
	require.Zero(t, w.count(`SELECT count(*) FROM outbox WHERE state IN ('sending', 'unknown')`))
	require.Equal(t, 3, w.count(`SELECT count(*) FROM outbox WHERE state = 'pending' AND next_at <= now()`))
	require.Len(t, w.sent(), 3)
}

func TestWebAnswersAreHandedOver(t *testing.T) {
	w := newWorld(t)
	id, to := w.customer(1)
	w.reply(id, to, support.KindAnswer, "one", "two")
	_, err := w.pool.Exec(t.Context(), `UPDATE outbox SET channel = 'webform'`)
	require.NoError(t, err)
	d, _, _ := w.dispatch("w1", func(c *outbox.Config) { c.Senders = nil })
	d.Kick()
	w.settles(support.OutDelivered)
	require.Empty(t, w.sent())
}

// Everything at once: two dispatchers, many customers, a vendor that cuts after
// accepting, errs, is slow and shuffles, doubles and drops its callbacks; each
// reply goes out once, in order.
func TestAVendorAtItsWorst(t *testing.T) {
	w := newWorld(t)
	w.vendor.SetOptions(twiliotest.Options{Duplicate: 0.3, Shuffle: 0.5, Early: 0.3, Drop: 0.3})
	w.fault(simctl.Fault{Kind: simctl.AcceptThenCut, Rate: 0.15, Method: "POST"})
	w.fault(simctl.Fault{Kind: simctl.Error, Status: 429, Rate: 0.1})
	w.fault(simctl.Fault{Kind: simctl.Error, Status: 500, Rate: 0.1, Method: "GET"})
	w.fault(simctl.Fault{Kind: simctl.Slow, Delay: 50 * time.Millisecond, Rate: 0.2})
	const customers, each = 25, 6
	for i := range customers {
		id, to := w.customer(i)
		var texts []string
		for n := range each {
			texts = append(texts, fmt.Sprintf("reply %d", n)) // others have the same texts
		}
		w.reply(id, to, support.KindAnswer, texts...)
	}
	for _, name := range []string{"w1", "w2"} {
		w.dispatch(name, nil)
	}
	w.settles(support.OutAccepted, support.OutSent, support.OutDelivered)
	require.Len(t, w.sent(), customers*each)
	w.once()
	require.Zero(t, w.count(`SELECT count(*) FROM outbox WHERE provider_id IS NULL`))
	require.Equal(t, customers*each, w.count(`SELECT count(DISTINCT provider_id) FROM outbox`))
}

func TestConfigIsChecked(t *testing.T) {
	good := outbox.Config{Store: &persistence.Outbox{}, Worker: "w", Units: units, LeaseOK: func() bool { return true }}
	for name, spoil := range map[string]func(*outbox.Config){
		"no store": func(c *outbox.Config) { c.Store = nil }, "no worker": func(c *outbox.Config) { c.Worker = "" }, "no units": func(c *outbox.Config) { c.Units = nil },
		"no lease": func(c *outbox.Config) { c.LeaseOK = nil }, "a scale above 1": func(c *outbox.Config) { c.TimeScale = 2 },
		"a request longer than half a claim": func(c *outbox.Config) { c.ClaimFor, c.Timeout = 10*time.Second, 5*time.Second },
	} {
		c := good
		spoil(&c)
		_, err := outbox.New(c)
		require.Error(t, err, name)
	}
	_, err := outbox.New(good)
	require.NoError(t, err)
}
