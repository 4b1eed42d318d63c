package kafka

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"fte/ingress/kafka/kafkatest"
	"fte/support"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
)

// TestMain is a broker when it is told so, in a process that can be killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("FTE_TEST_BROKER_DIR"); dir != "" {
		b, err := kafkatest.Start(kafkatest.Config{Dir: dir})
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println("ready", b.Addr())
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent goes
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"),
		goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer")) // ends by itself, ten seconds later
}

// long bounds waits on a machine that has much else to do.
const long = 30 * time.Second

// process is a broker in a child process.
type process struct {
	t    testing.TB
	dir  string
	addr string
	cmd  *exec.Cmd

	controller string // of a real Kafka
}

func startProcess(t testing.TB) *process {
	p := &process{t: t, dir: t.TempDir()}
	p.start()
	t.Cleanup(p.kill)
	return p
}

func (p *process) start() {
	if real {
		p.startReal()
		return
	}
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), "FTE_TEST_BROKER_DIR="+p.dir)
	_, err := p.cmd.StdinPipe()
	require.NoError(p.t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(p.t, err)
	require.NoError(p.t, p.cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(p.t, err)
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	require.True(p.t, ok, line)
	p.addr = addr
}

// kill is SIGKILL.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// startBroker starts one in this process, with the topics made.
func startBroker(t testing.TB) Servers {
	if real {
		s := Servers{Brokers: []string{startProcess(t).addr}}
		makeTopics(t, s)
		return s
	}
	b, err := kafkatest.Start(kafkatest.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	s := Servers{Brokers: []string{b.Addr()}}
	makeTopics(t, s)
	return s
}

func makeTopics(t testing.TB, s Servers) *Admin {
	a, err := NewAdmin(AdminConfig{Servers: s, Partitions: 4, Log: zaptest.NewLogger(t)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	require.NoError(t, a.CreateTopics(ctx))
	return a
}

func newPublisher(t testing.TB, s Servers) *Publisher {
	p, err := NewPublisher(PublisherConfig{Servers: s, Sealer: sealer{}, Log: zaptest.NewLogger(t)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// sealer binds a record to its place, as the real one does; it hides nothing.
type sealer struct{}

func (sealer) SealIntake(topic string, ch support.Channel, id string, plain []byte) ([]byte, error) {
	return append([]byte(topic+"|"+string(ch)+"|"+id+"\n"), plain...), nil
}

func (sealer) OpenIntake(topic string, ch support.Channel, id string, sealed []byte) ([]byte, error) {
	place, plain, _ := strings.Cut(string(sealed), "\n")
	if place != topic+"|"+string(ch)+"|"+id {
		return nil, errors.New("sealed for another place")
	}
	return []byte(plain), nil
}

func (sealer) RecordKey(a support.Address) []byte {
	sum := sha256.Sum256([]byte(string(a.Kind) + a.Value))
	return sum[:]
}

// message n of a customer.
func message(customer, n int) support.Inbound {
	return support.Inbound{Channel: support.WhatsApp, ExternalID: fmt.Sprintf("SM%03d-%05d", customer, n),
		From: []support.Address{{Kind: support.KindPhone, Value: fmt.Sprintf("+1555%07d", customer)}},
		Text: fmt.Sprintf("message %d", n), AcceptedAt: time.Now()}
}

// router records what it was given; answer decides what it says, nil: stored.
type router struct {
	mu     sync.Mutex
	order  map[string][]string // by sender, external ids in the order of their first storing
	times  map[string]int      // deliveries by external id
	answer func(ctx context.Context, in support.Inbound) error
}

func newRouter(answer func(context.Context, support.Inbound) error) *router {
	return &router{order: map[string][]string{}, times: map[string]int{}, answer: answer}
}

func (r *router) Route(ctx context.Context, in support.Inbound) error {
	if r.answer != nil {
		if err := r.answer(ctx, in); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times[in.ExternalID]++
	if r.times[in.ExternalID] == 1 {
		from := in.From[0].Value
		r.order[from] = append(r.order[from], in.ExternalID)
	}
	return nil
}

func (r *router) stored() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.times)
}

func (r *router) of(in support.Inbound) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.order[in.From[0].Value]...)
}

// consumer is one that runs until the test ends or stop is called.
type consumer struct {
	*Consumer
	stop func()
}

func startConsumer(t testing.TB, s Servers, name string, r Router, letters DeadLetters, change ...func(*ConsumerConfig)) *consumer {
	cfg := ConsumerConfig{Servers: s, Instance: name, Channels: []support.Channel{support.WhatsApp}, Router: r, Sealer: sealer{},
		Letters: letters, Publisher: newPublisher(t, s), Sweep: 50 * time.Millisecond, Log: zaptest.NewLogger(t).Named(name)}
	for _, c := range change {
		c(&cfg)
	}
	c, err := NewConsumer(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx)
	}()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return &consumer{c, stop}
}

func (c *consumer) partitions() []int32 { return c.Status()[0].Partitions }
