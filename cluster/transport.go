package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"fte/cluster/clusterpb"
)

// Names of the two processes that every member has besides its activations.
const (
	gateName    = "gate"    // takes what others ask
	repliesName = "replies" // takes what others answer
)

// maxMessage is the largest batch of messages that a member accepts, in bytes.
const maxMessage = 64 << 20

// Windows of flow control, of a stream and of a connection. They are fixed: the
// library would else probe the line with a ping of its own for every message that
// comes after a pause, which is every one of an idle cluster.
const (
	streamWindow = 4 << 20
	connWindow   = 8 << 20
)

// errUnreachable means that the connection to a member is broken.
var errUnreachable = errors.New("the member cannot be reached")

// transport sends envelopes to members and matches answers to requests.
type transport struct {
	n      *Node
	remote *remote.Remote
	last   atomic.Uint64

	mu      sync.Mutex // guards what follows
	pending map[uint64]*pending
	streams map[*context.CancelFunc]string // to the address each goes to
}

// pending is a request whose answer has not come.
type pending struct {
	address string
	answer  chan *clusterpb.Envelope // of one place; closed when the member cannot answer any more
}

func newTransport(n *Node) *transport {
	return &transport{n: n, pending: map[uint64]*pending{}, streams: map[*context.CancelFunc]string{}}
}

// listen opens the listener and returns the address others reach it at.
func (t *transport) listen() (host string, port int, err error) {
	defer func() { // remote.Start panics when it cannot listen
		if p := recover(); p != nil {
			err = fmt.Errorf("listen on %s:%d: %v", t.n.cfg.Host, t.n.cfg.Port, p)
		}
	}()
	cfg := t.n.cfg
	if cfg.Port == 0 {
		if cfg.Port, err = freePort(cfg.Host); err != nil {
			return "", 0, err
		}
	}
	host, port = cfg.Host, cfg.Port
	if cfg.AdvertisedHost != "" {
		host = cfg.AdvertisedHost
	}
	if cfg.AdvertisedPort != 0 {
		port = cfg.AdvertisedPort
	}
	rc := remote.Configure(cfg.Host, cfg.Port, remote.WithAdvertisedHost(address(host, port)),
		// By default a burst makes one batch of 4 MiB and fails, and each peer's queue takes 16 MB.
		remote.WithEndpointWriterBatchSize(64), remote.WithEndpointWriterQueueSize(1024),
		remote.WithServerOptions(t.serverOptions()...), remote.WithDialOptions(t.dialOptions()...),
		// The library sleeps two seconds over a connection that was refused. So it
		// waits instead until there is one, or until follow gives the address up.
		remote.WithCallOptions(grpc.WaitForReady(true)))
	rc.MaxRetryCount = 1

	system := t.n.system
	system.ProcessRegistry.Add(process(t.request), gateName)
	system.ProcessRegistry.Add(process(t.reply), repliesName)
	system.EventStream.Subscribe(func(event any) {
		if lost, ok := event.(*remote.EndpointTerminatedEvent); ok {
			t.lost(lost.Address)
			t.n.peers.kick(lost.Address)
		}
	})
	r := remote.NewRemote(system, rc)
	r.Start()
	t.remote = r // only what has started can be shut down
	return host, port, nil
}

func freePort(host string) (int, error) {
	l, err := net.Listen("tcp", address(host, 0))
	if err != nil {
		return 0, fmt.Errorf("find a free port on %s: %w", host, err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (t *transport) serverOptions() []grpc.ServerOption {
	o := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.StaticStreamWindowSize(streamWindow), grpc.StaticConnWindowSize(connWindow),
		grpc.UnaryInterceptor(denyUnary),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	}
	if t.n.cfg.ServerTLS != nil {
		o = append(o, grpc.Creds(credentials.NewTLS(t.n.cfg.ServerTLS)))
	}
	return o
}

func (t *transport) dialOptions() []grpc.DialOption {
	creds := insecure.NewCredentials()
	if t.n.cfg.ClientTLS != nil {
		creds = credentials.NewTLS(t.n.cfg.ClientTLS)
	}
	return []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithNoProxy(),
		grpc.WithStreamInterceptor(t.open),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return t.n.cfg.Dial(ctx, "tcp", addr) }),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 300 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 2 * time.Second, PermitWithoutStream: true}),
	}
}

// open opens a stream to a member in a context that forsake can end: the library
// opens it, waits for its first answer and writes to it without any time limit.
func (t *transport) open(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string,
	streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	t.mu.Lock()
	t.streams[&cancel] = cc.Target()
	t.mu.Unlock()
	context.AfterFunc(ctx, func() {
		t.mu.Lock()
		delete(t.streams, &cancel)
		t.mu.Unlock()
	})
	s, err := streamer(ctx, desc, cc, method, opts...)
	if err != nil {
		cancel()
		return nil, err
	}
	context.AfterFunc(s.Context(), cancel)
	return s, nil
}

// forsake ends the streams to an address, or with "" all: the member has ended.
func (t *transport) forsake(address string) {
	t.lost(address)
	t.mu.Lock()
	defer t.mu.Unlock()
	for cancel, to := range t.streams {
		if to == address || address == "" {
			(*cancel)()
		}
	}
}

// denyUnary refuses every unary call: the library's ListProcesses and
// GetProcessDiagnostics panic, and one such call would end the process.
func denyUnary(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
	return nil, status.Error(codes.PermissionDenied, "not served")
}

// close ends all connections at once.
func (t *transport) close() {
	t.forsake("")
	if t.remote != nil {
		t.remote.Shutdown(false)
	}
}

// ask sends an envelope to a member and waits for its answer, ctx's end, or the
// loss of the connection.
func (t *transport) ask(ctx context.Context, to Member, env *clusterpb.Envelope) (*clusterpb.Envelope, error) {
	p := &pending{address: address(to.Host, to.Port), answer: make(chan *clusterpb.Envelope, 1)}
	id := t.last.Add(1)
	msg := &clusterpb.Envelope{
		Id: id, Op: env.Op, Kind: env.Kind, Identity: env.Identity, Body: env.Body,
		Resident: env.Resident, Target: env.Target, View: t.n.View().Number, Receiver: to.ID,
		Member: env.Member, Count: env.Count, Heard: env.Heard,
	}
	t.mu.Lock()
	t.pending[id] = p
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.pending, id)
		t.mu.Unlock()
	}()

	t.n.system.Root.RequestWithCustomSender(actor.NewPID(p.address, gateName), msg, t.n.system.NewLocalPID(repliesName))
	select {
	case answer, ok := <-p.answer:
		if !ok {
			return nil, fmt.Errorf("ask %s: %w", to.Name, errUnreachable)
		}
		return answer, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("ask %s: %w", to.Name, ctx.Err())
	}
}

// lost gives up on what an address, or with "" any, has not answered.
func (t *transport) lost(address string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, p := range t.pending {
		if p.address == address || address == "" {
			delete(t.pending, id)
			close(p.answer)
		}
	}
}

// reply is the replies process: it runs on the connection's goroutine.
func (t *transport) reply(env *clusterpb.Envelope, _ *actor.PID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.pending[env.Id]; p != nil && env.Op == clusterpb.Envelope_REPLY {
		delete(t.pending, env.Id)
		p.answer <- env
	}
}

// request is the gate process: it runs on the connection's goroutine and must not
// wait, for everything else from that member waits behind it.
func (t *transport) request(env *clusterpb.Envelope, sender *actor.PID) {
	if sender == nil {
		return
	}
	answer := func(r *clusterpb.Envelope) {
		r.Id, r.Op, r.Member, r.View = env.Id, clusterpb.Envelope_REPLY, t.n.ID(), t.n.View().Number
		t.n.system.Root.Send(sender, r)
	}
	switch {
	case env.Receiver != t.n.ID():
		// It waited for an incarnation before us, and is old.
		go answer(refuse(CodeRetry, "meant for another member"))
	case env.Target != "" && env.Target != t.n.ID():
		go t.n.pass(env, answer)
	case env.Op == clusterpb.Envelope_PING:
		t.n.heard(env.View)
		t.n.peers.heard(env)
		count := t.n.gate.load()
		go answer(&clusterpb.Envelope{Count: int64(count)})
	case env.Op == clusterpb.Envelope_LOOK:
		r := &clusterpb.Envelope{}
		if depth, ok := t.n.gate.depth(identity{env.Kind, env.Identity}); ok {
			r.Count = int64(depth)
		} else {
			r = refuse(codeAbsent, "not active here")
		}
		go answer(r)
	case env.Op == clusterpb.Envelope_REQUEST:
		t.n.gate.deliver(env, answer)
	}
}

// process is a function that takes envelopes, as an actor process.
type process func(env *clusterpb.Envelope, sender *actor.PID)

// SendUserMessage implements actor.Process.
func (p process) SendUserMessage(_ *actor.PID, message any) {
	_, msg, sender := actor.UnwrapEnvelope(message)
	if env, ok := msg.(*clusterpb.Envelope); ok {
		p(env, sender)
	}
}

// SendSystemMessage implements actor.Process; nothing of the system concerns it.
func (process) SendSystemMessage(*actor.PID, any) {}

// Stop implements actor.Process; it lives as long as the actor system.
func (process) Stop(*actor.PID) {}
