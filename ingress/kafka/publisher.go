package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"fte/support"

	"github.com/IBM/sarama"
	"github.com/eapache/go-resiliency/breaker"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// PublisherConfig says where and how to publish.
type PublisherConfig struct {
	Servers Servers
	Sealer  Sealer // required for Publish
	// Deadline is the longest a publication takes before it counts as failed.
	// Defaults to 2.5 seconds.
	Deadline time.Duration
	// Pending is how many publications may wait at once; one more is refused.
	// Defaults to 512.
	Pending    int
	Log        *zap.Logger
	Registerer prometheus.Registerer
}

// Publisher writes records and returns when all replicas have them. It connects
// when it is first used and is safe for concurrent use.
type Publisher struct {
	cfg     PublisherConfig
	metrics *publisherMetrics
	slots   chan struct{}

	mu      sync.Mutex // guards what follows
	out     *producer
	dialing chan struct{} // closed when the attempt under way ends; nil without one
	dialErr error         // of the last attempt
	closed  bool
}

// producer is a connection. A call to a closed one would panic: it is closed when
// nobody takes it any more and every call has ended.
type producer struct {
	sarama.SyncProducer
	client sarama.Client
	calls  sync.WaitGroup // under way; added to under Publisher.mu while it is the one
}

// end closes it once every call has ended.
func (out *producer) end() error {
	out.calls.Wait()
	return errors.Join(out.Close(), out.client.Close())
}

// NewPublisher checks the configuration. It connects to nothing.
func NewPublisher(cfg PublisherConfig) (*Publisher, error) {
	if err := cfg.Servers.check(); err != nil {
		return nil, err
	}
	if cfg.Deadline <= 0 {
		cfg.Deadline = 2500 * time.Millisecond
	}
	if cfg.Pending <= 0 {
		cfg.Pending = 512
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Publisher{cfg: cfg, metrics: newPublisherMetrics(cfg.Registerer), slots: make(chan struct{}, cfg.Pending)}, nil
}

// Publish returns nil when the message is durable. support.ErrUnavailable says
// that it may not be: the caller says so to whoever sent it. (It may still
// appear, as any retry may; messages are told apart by channel and external id.)
func (p *Publisher) Publish(ctx context.Context, in support.Inbound) error {
	if p.cfg.Sealer == nil {
		return errors.New("publish: no sealer is configured")
	}
	m, err := encode(p.cfg.Sealer, in)
	if err == nil {
		err = p.send(ctx, m)
	}
	if err != nil {
		return fmt.Errorf("publish message %s/%s: %w", in.Channel, in.ExternalID, err)
	}
	return nil
}

// bury puts a copy of a dead letter on fte.dlq.
func (p *Publisher) bury(ctx context.Context, l support.DeadLetter) error {
	return p.send(ctx, &sarama.ProducerMessage{
		Topic: support.TopicDeadLetters, Key: sarama.ByteEncoder(l.Key), Value: sarama.ByteEncoder(l.Record),
		Headers: headers(headerChannel, string(l.Channel), headerExternalID, l.ExternalID, "reason", l.Reason,
			"topic", l.Topic, "partition", fmt.Sprint(l.Partition), "offset", fmt.Sprint(l.Offset)),
	})
}

// send publishes one record within the deadline.
func (p *Publisher) send(ctx context.Context, m *sarama.ProducerMessage) error {
	return p.within(ctx, func(out sarama.SyncProducer) error {
		_, _, err := out.SendMessage(m)
		return err
	})
}

// within runs a blocking call of the producer, which knows no context, and
// leaves it behind when the time is over. How many can be left behind is bounded.
func (p *Publisher) within(ctx context.Context, call func(sarama.SyncProducer) error) (err error) {
	start := time.Now()
	defer func() { p.metrics.observe(time.Since(start), err) }()
	select {
	case p.slots <- struct{}{}:
	default:
		return fmt.Errorf("%w: %d publications are waiting for Kafka", support.ErrUnavailable, cap(p.slots))
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Deadline)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer func() { <-p.slots }()
		done <- p.try(ctx, call)
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	var size sarama.ProducerError
	switch {
	case err == nil, errors.Is(err, support.ErrUnavailable):
		return err
	case errors.Is(err, sarama.ErrMessageSizeTooLarge), errors.As(err, &size) && errors.Is(size.Err, sarama.ErrMessageSizeTooLarge):
		return fmt.Errorf("%w: %w", support.ErrTooLarge, err)
	default:
		return fmt.Errorf("%w: kafka: %w", support.ErrUnavailable, err)
	}
}

// try calls the producer, and once more a new one where the client refuses to try:
// having failed three times to ask for a partition's leader, it does so for ten
// seconds, broker or no broker (sarama, async_producer.go, breaker.New).
func (p *Publisher) try(ctx context.Context, call func(sarama.SyncProducer) error) error {
	for again := true; ; again = false {
		out, err := p.producer(ctx)
		if err != nil {
			return err
		}
		err = call(out)
		out.calls.Done()
		if !refused(err) {
			return err
		}
		p.leave(out)
		if !again || ctx.Err() != nil {
			return err
		}
	}
}

// refused tells whether the client did not even try, with one message or one of many.
func refused(err error) bool {
	var many sarama.ProducerErrors
	if errors.As(err, &many) {
		return slices.ContainsFunc(many, func(e *sarama.ProducerError) bool { return errors.Is(e.Err, breaker.ErrBreakerOpen) })
	}
	return errors.Is(err, breaker.ErrBreakerOpen)
}

// leave closes a producer that refuses to try; the next publication connects anew.
func (p *Publisher) leave(out *producer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out != out {
		return // somebody else was faster
	}
	p.out = nil
	go func() {
		if err := out.end(); err != nil {
			p.cfg.Log.Debug("the producer before was not closed in good order", zap.Error(err))
		}
	}()
}

// producer returns the one producer, connecting first where there is none. One
// attempt serves all who wait. The caller ends its call by calls.Done.
func (p *Publisher) producer(ctx context.Context) (*producer, error) {
	p.mu.Lock()
	if p.out != nil || p.closed {
		defer p.mu.Unlock()
		if p.out == nil {
			return nil, fmt.Errorf("%w: the publisher is closed", support.ErrUnavailable)
		}
		p.out.calls.Add(1)
		return p.out, nil
	}
	if p.dialing == nil {
		p.dialing = make(chan struct{})
		go p.connect(p.dialing)
	}
	wait := p.dialing
	p.mu.Unlock()
	select {
	case <-wait:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: connecting to Kafka: %w", support.ErrUnavailable, ctx.Err())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out == nil {
		return nil, fmt.Errorf("%w: connect to Kafka: %w", support.ErrUnavailable, p.dialErr)
	}
	p.out.calls.Add(1)
	return p.out, nil
}

func (p *Publisher) connect(done chan struct{}) {
	out, err := p.dial()
	p.mu.Lock()
	defer p.mu.Unlock()
	defer close(done)
	p.dialing = nil
	if p.closed && err == nil {
		_ = out.end()
		err = errors.New("the publisher is closed")
	}
	if err != nil {
		p.dialErr = err
		return
	}
	p.out = out
}

func (p *Publisher) dial() (*producer, error) {
	c := p.cfg.Servers.config()
	c.Net.ReadTimeout = 2 * time.Second
	c.Net.MaxOpenRequests = 1 // what idempotence asks for in this client
	c.Producer.Idempotent = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Timeout = 2 * time.Second
	c.Producer.MaxMessageBytes = 1 << 20
	c.Producer.Retry.Max = 10
	c.Producer.Retry.Backoff = 100 * time.Millisecond
	c.Producer.Return.Successes = true
	c.Producer.Return.Errors = true
	c.Metadata.Retry.Max = 2
	client, err := sarama.NewClient(p.cfg.Servers.Brokers, c)
	if err != nil {
		return nil, err
	}
	out, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	return &producer{SyncProducer: out, client: client}, nil
}

// Ready asks a broker whether the topics of intake are there, and returns nil
// when a message could be published now.
func (p *Publisher) Ready(ctx context.Context, channels ...support.Channel) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Deadline)
	defer cancel()
	out, err := p.producer(ctx)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer out.calls.Done()
		done <- leaders(out.client, channels)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: ask Kafka for its topics: %w", support.ErrUnavailable, ctx.Err())
	}
}

func leaders(client sarama.Client, channels []support.Channel) error {
	var topics []string
	for _, ch := range channels {
		topics = append(topics, ch.InboundTopic())
	}
	if err := client.RefreshMetadata(topics...); err != nil {
		return fmt.Errorf("%w: ask Kafka for its topics: %w", support.ErrUnavailable, err)
	}
	return nil
}

// Close waits for what is being published and disconnects.
func (p *Publisher) Close() error {
	p.mu.Lock()
	out := p.out
	p.out, p.closed = nil, true
	p.mu.Unlock()
	if out == nil {
		return nil
	}
	return out.end()
}
