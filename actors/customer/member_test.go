package customer

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/support"
)

const someone = support.CustomerID("0190f000-0000-7000-8000-000000000001")

func voice(n support.Notice, f support.Fill) support.Text {
	return support.Text{Body: string(n) + " " + f.Reference, Units: 20}
}

// locked makes a memStore safe for the shell's goroutines.
type locked struct {
	mu sync.Mutex
	*memStore
	clock time.Time
	down  bool
}

func (l *locked) do(f func(*memStore)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.memStore.now = l.clock.Add(time.Since(l.clock))
	f(l.memStore)
}

func (l *locked) Load(ctx context.Context, id support.CustomerID) (s support.Snapshot, err error) {
	l.do(func(m *memStore) { s, err = m.Load(ctx, id) })
	return
}

func (l *locked) Commit(ctx context.Context, c support.Commit) (d support.Committed, err error) {
	l.do(func(m *memStore) {
		if l.down {
			m.fate = away
		}
		d, err = m.Commit(ctx, c)
	})
	return
}

func (l *locked) History(ctx context.Context, id support.CustomerID, sc support.Scope, limit int) (ms []support.Message, err error) {
	l.do(func(m *memStore) { ms, err = m.History(ctx, id, sc, limit) })
	return
}

func (l *locked) Messages(ctx context.Context, id support.CustomerID, seqs []int64) (ms []support.Message, err error) {
	l.do(func(m *memStore) { ms, err = m.Messages(ctx, id, seqs) })
	return
}

func (l *locked) Held(ctx context.Context, id support.CustomerID) (ms []support.Message, err error) {
	l.do(func(m *memStore) { ms, err = m.Held(ctx, id) })
	return
}

func (l *locked) Unhandled(ctx context.Context, id support.CustomerID) (os []support.Outbound, err error) {
	l.do(func(m *memStore) { os, err = m.Unhandled(ctx, id) })
	return
}

// node is a member with one customer: a mailbox, as the cluster has it, and the
// Requester in front of it.
type node struct {
	t      *testing.T
	actors *Actors
	name   string
	mail   chan func(*Actor)
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	once   sync.Once

	mu   sync.Mutex
	busy bool
	over bool
}

func newNode(t *testing.T, cfg Config, name string) *node { return newNodeOf(t, cfg, name, someone) }

func newNodeOf(t *testing.T, cfg Config, name string, id support.CustomerID) *node {
	actors, err := New(cfg)
	require.NoError(t, err)
	n := &node{t: t, actors: actors, name: name, mail: make(chan func(*Actor), 1000), done: make(chan struct{})}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	a, err := actors.Activate(string(id), n)
	require.NoError(t, err)
	go func() {
		defer close(n.done)
		for {
			select {
			case f := <-n.mail:
				f(a)
			case <-n.ctx.Done():
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				a.Stop(ctx)
				cancel()
				return
			}
		}
	}()
	t.Cleanup(n.kill)
	return n
}

func (n *node) kill() { n.once.Do(func() { n.cancel(); <-n.done }) }

func (n *node) Post(msg any) bool {
	if n.ctx.Err() != nil {
		return false
	}
	n.mail <- func(a *Actor) { a.Posted(n.ctx, msg) }
	return true
}

func (n *node) Busy(b bool) { n.mu.Lock(); n.busy = b; n.mu.Unlock() }

func (n *node) isBusy() bool { n.mu.Lock(); defer n.mu.Unlock(); return n.busy }

func (n *node) Stop() { n.mu.Lock(); n.over = true; n.mu.Unlock(); n.cancel() }

func (n *node) Context() context.Context { return n.ctx }
func (n *node) Owner() string            { return n.name }

func (n *node) Request(ctx context.Context, kind, id string, msg []byte) ([]byte, error) {
	require.Equal(n.t, Kind, kind)
	type answer struct {
		reply []byte
		err   error
	}
	out := make(chan answer, 1)
	n.mail <- func(a *Actor) {
		reply, err := a.Receive(n.ctx, msg)
		out <- answer{reply, err}
	}
	select {
	case a := <-out:
		return a.reply, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-n.done:
		return nil, support.ErrRetry
	}
}

// agentFunc is an Agent.
type agentFunc func(ctx context.Context, in support.TurnInput, record func(context.Context, support.Step) error) (support.Outcome, error)

func (f agentFunc) Run(ctx context.Context, in support.TurnInput, record func(context.Context, support.Step) error) (support.Outcome, error) {
	return f(ctx, in, record)
}

// echo answers with the texts of the inputs, after one journaled step.
func echo(ctx context.Context, in support.TurnInput, record func(context.Context, support.Step) error) (support.Outcome, error) {
	if len(in.Steps) == 0 {
		if err := record(ctx, support.Step{Step: 1, Kind: "model", Name: "echo"}); err != nil {
			return support.Outcome{}, err
		}
	}
	text := ""
	for _, m := range in.Inputs {
		text += m.Body + ";"
	}
	return support.Outcome{Kind: support.OutcomeAnswer, Text: text, Units: len(text)}, nil
}

func mail(id, thread, text string) support.Inbound {
	return support.Inbound{
		Channel: support.Email, ExternalID: id, From: []support.Address{{Kind: support.KindEmail, Value: "ann@example.org"}},
		Level: support.ChannelVerified, Thread: thread, Text: text, Envelope: support.Envelope{ReplyTo: "Ann <ann@example.org>"},
	}
}

func chat(id, text string) support.Inbound {
	return support.Inbound{
		Channel: support.WhatsApp, ExternalID: id, From: []support.Address{{Kind: support.KindPhone, Value: "+15550100"}},
		Level: support.ChannelVerified, Text: text, Envelope: support.Envelope{ReplyTo: "whatsapp:+15550100"},
	}
}

func newLocked() *locked {
	l := &locked{memStore: newMemStore(someone), clock: time.Now()}
	return l
}

func config(s Store, a agentFunc) Config {
	return Config{Store: s, Agent: a, Voice: voice, pause: 5 * time.Millisecond}
}

// waitFor polls the store until ok.
func waitFor(t *testing.T, s *locked, what string, ok func(*memStore) bool) {
	t.Helper()
	require.Eventually(t, func() (is bool) { s.do(func(m *memStore) { is = ok(m) }); return }, 20*time.Second, time.Millisecond, what)
}
