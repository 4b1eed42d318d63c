package customer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"fte/support"
)

// Store is what the actor needs from storage. Every error that is not one of
// support's says that the commit or the read was refused and wrote nothing.
type Store interface {
	// Load reads a customer, consistently. support.ErrNotFound, ErrUnavailable.
	Load(ctx context.Context, id support.CustomerID) (support.Snapshot, error)
	// Commit writes all of it or nothing. support.ErrFenced, ErrUnknownCommit,
	// ErrUnavailable, ErrTooLate, a *support.DuplicateError.
	Commit(ctx context.Context, c support.Commit) (support.Committed, error)
	// History is the newest limit messages that the scope allows, oldest first.
	History(ctx context.Context, id support.CustomerID, scope support.Scope, limit int) ([]support.Message, error)
	// Messages reads messages by their seqs, in their order.
	Messages(ctx context.Context, id support.CustomerID, seqs []int64) ([]support.Message, error)
	// Held reads the inbound messages whose outcome is held, by seq.
	Held(ctx context.Context, id support.CustomerID) ([]support.Message, error)
	// Unhandled reads the rows that ended badly and that nobody dealt with.
	Unhandled(ctx context.Context, id support.CustomerID) ([]support.Outbound, error)
}

// core is the actor without its goroutines: it loads, decides, commits and
// becomes. What it returns is still to be performed.
type core struct {
	cfg   *Config
	id    support.CustomerID
	owner string

	loaded bool
	over   bool               // fenced, or the outcome of a commit is unknown: only a reload helps
	fenced bool               // another activation has the customer
	moved  support.CustomerID // who took this customer in; nothing is done here any more
	state  State

	// The database's clock was base when the monotonic clock was at.
	base time.Time
	at   time.Duration
}

// now is the database's clock, as far as this process knows it.
func (c *core) now() time.Time { return c.base.Add(c.cfg.mono() - c.at) }

func (c *core) sync(now time.Time) { c.base, c.at = now, c.cfg.mono() }

// do handles one act, after loading the customer if this is the first. Effects
// are to be performed whether or not there is an error. Once over, everything is
// answered support.ErrRetry.
func (c *core) do(ctx context.Context, act Act) (answer any, effects []Effect, err error) {
	if c.over {
		return nil, nil, fmt.Errorf("customer %s is loaded anew: %w", c.id, support.ErrRetry)
	}
	if !c.loaded {
		if effects, err = c.load(ctx); err != nil {
			return nil, effects, err
		}
	}
	if c.moved != "" {
		if _, ok := act.(Wake); ok && c.cfg.Identity != nil {
			if err := c.cfg.Identity.Forget(ctx, c.id); err != nil {
				return nil, nil, err
			}
		}
		return nil, nil, &support.MovedError{To: c.moved}
	}
	prior, act, err := c.prepare(ctx, act)
	effects = append(effects, prior...)
	if err != nil {
		return nil, effects, err
	}
	answer, more, err := c.apply(ctx, act)
	return answer, append(effects, more...), err
}

// load begins: it reads the customer and takes up what the last owner left.
func (c *core) load(ctx context.Context) ([]Effect, error) {
	snap, err := c.cfg.Store.Load(ctx, c.id)
	if err != nil {
		return nil, fmt.Errorf("load customer %s: %w", c.id, err)
	}
	if c.moved = snap.Customer.MergedInto; c.moved != "" {
		c.loaded = true
		return nil, nil
	}
	if c.state, err = Load(snap, c.owner); err != nil {
		return nil, err
	}
	c.sync(snap.Now)
	c.loaded = true
	var effects []Effect
	if c.state.Turn != nil || len(c.state.Queue) > 0 {
		if _, effects, err = c.apply(ctx, Resume{}); err != nil {
			c.loaded = false // nothing was written: the next message begins again
			return nil, err
		}
	}
	more, err := c.failed(ctx, snap.Failed)
	return append(effects, more...), err
}

// failed deals with replies that ended badly.
func (c *core) failed(ctx context.Context, rows []support.Outbound) (effects []Effect, err error) {
	for _, o := range rows {
		_, more, err := c.apply(ctx, SendFailed{Row: o})
		effects = append(effects, more...)
		if err != nil {
			return effects, err
		}
	}
	return effects, nil
}

// prepare reads what an act needs to know, and takes over where a person replies
// whom nobody prevents.
func (c *core) prepare(ctx context.Context, act Act) (effects []Effect, _ Act, err error) {
	held := func() (ms []support.Message) {
		if err == nil {
			ms, err = c.cfg.Store.Held(ctx, c.id)
		}
		return ms
	}
	switch a := act.(type) {
	case Deliver:
		if a.shown, err = c.show(ctx, a.Inbound); err != nil {
			return nil, nil, fmt.Errorf("judge a code: %w", err)
		}
		act = a
	case Wake:
		if a.Swept {
			rows, err := c.cfg.Store.Unhandled(ctx, c.id)
			if err != nil {
				return nil, nil, fmt.Errorf("wake customer %s: %w", c.id, err)
			}
			if effects, err = c.failed(ctx, rows); err != nil {
				return effects, nil, err
			}
		}
		if r := c.state.Recheck; r != nil && !r.Due.After(c.now()) {
			a.Held = held()
		}
		act = a
	case PersonReply:
		if c.state.replied(a.Key) > 0 {
			break
		}
		if c.state.Mode != support.ModePerson {
			if _, effects, err = c.apply(ctx, TakeOver{Person: a.Person}); err != nil {
				return effects, nil, err
			}
		}
		a.Held = held()
		act = a
	case Release:
		a.Held = held()
		act = a
	case Resolve:
		a.Held = held()
		act = a
	default:
		act, err = c.identify(ctx, act)
		return effects, act, err
	}
	if err != nil {
		return effects, nil, fmt.Errorf("read what customer %s waits for: %w", c.id, err)
	}
	return effects, act, nil
}

// apply decides, commits and becomes.
func (c *core) apply(ctx context.Context, act Act) (any, []Effect, error) {
	return c.try(ctx, act, false)
}

func (c *core) try(ctx context.Context, act Act, mute bool) (any, []Effect, error) {
	d := Decide(c.state, Command{
		Now: c.now(), NewTicket: c.cfg.NewID(), NewConversation: c.cfg.NewID(), Voice: c.cfg.Voice, Promise: c.cfg.Promise,
		Off: c.off(), Limits: c.cfg.Rates, Mute: mute, Do: act,
	})
	if d.Err != nil {
		return nil, nil, d.Err
	}
	if d.Commit == nil {
		c.state = d.Next
		return d.Answer, d.Effects, nil
	}
	support.Failpoint(support.FailDecided)
	done, err := c.cfg.Store.Commit(ctx, *d.Commit)
	c.cfg.metrics.commit(err)
	if err != nil {
		return c.refused(ctx, act, mute, err)
	}
	support.Failpoint(support.FailCommitted)
	c.state, c.over = d.Next, d.Over
	c.state.Version = done.Version
	c.sync(done.Now)
	c.report(d.Commit)
	return c.stopped(d.Answer, done.Stopped), d.Effects, nil
}

// off is where the agent is switched off.
func (c *core) off() (off map[support.Channel]bool) {
	if c.cfg.AgentOn == nil {
		return nil
	}
	for _, ch := range support.Channels {
		if !c.cfg.AgentOn(ch) {
			if off == nil {
				off = map[support.Channel]bool{}
			}
			off[ch] = true
		}
	}
	return off
}

// report logs and counts what a commit made durable: an escalation is an error,
// since a person should look.
func (c *core) report(done *support.Commit) {
	for _, t := range done.Turns {
		if t.State != support.TurnClaimed {
			support.Failpoint(support.FailTurnCommitted)
			c.cfg.metrics.turns.WithLabelValues(string(t.State), string(t.Outcome)).Inc()
		}
	}
	for _, e := range done.Events {
		level := zap.DebugLevel
		if e.Topic == support.TopicEscalations {
			level = zap.ErrorLevel
		}
		line := c.cfg.Logger.Check(level, "customer event")
		if line == nil {
			continue
		}
		fields := []zap.Field{zap.String("customer_id", string(c.id)), zap.String("event_type", e.Type), zap.Int64("version", c.state.Version)}
		if c.state.Conversation != nil {
			fields = append(fields, zap.String("conversation_id", c.state.Conversation.ID), zap.String("channel", string(c.state.Conversation.Channel)))
		}
		line.Write(append(fields, zap.Any("refs", e.Refs))...)
	}
}

// stopped notes which of the agent's rows a take-over found on their way, and
// tells the person.
func (c *core) stopped(answer any, rows []support.Outbound) any {
	took, ok := answer.(TakenOver)
	if !ok {
		return answer
	}
	c.state.Stopping, took.OnItsWay = nil, []string{}
	for _, o := range rows {
		if o.State != support.OutCancelled {
			c.state.Stopping = append(c.state.Stopping, o.Seq)
			took.OnItsWay = append(took.OnItsWay, o.Key())
		}
	}
	return took
}

// refused says what a commit that did not happen means for the act. The State is
// as it was.
func (c *core) refused(ctx context.Context, act Act, mute bool, err error) (any, []Effect, error) {
	var dup *support.DuplicateError
	if support.BugRetryUnknown.Planted() && errors.Is(err, support.ErrUnknownCommit) {
		return c.retryBlind(ctx, act, mute)
	}
	switch {
	case errors.Is(err, support.ErrFenced), errors.Is(err, support.ErrUnknownCommit), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		// Another activation owns the customer, or nobody knows what is stored:
		// never go on, and never try again, from memory.
		c.over, c.fenced = true, errors.Is(err, support.ErrFenced)
		if c.fenced {
			c.cfg.Logger.Info("commit fenced", zap.String("customer_id", string(c.id)), zap.Int64("version", c.state.Version))
		}
		return nil, nil, fmt.Errorf("%w: commit customer %s at version %d: %w", support.ErrRetry, c.id, c.state.Version, err)
	case errors.As(err, &dup):
		return c.duplicate(act, dup)
	case errors.Is(err, support.ErrUnavailable), errors.Is(err, support.ErrTooLate):
		return nil, nil, err
	case errors.Is(err, support.ErrRetry), errors.Is(err, support.ErrConflict), errors.Is(err, support.ErrNotFound):
		if _, ok := act.(Joined); !ok {
			return nil, nil, err
		}
		if errors.Is(err, support.ErrRetry) {
			return c.try(ctx, JoinLater{}, false)
		}
		return c.try(ctx, JoinRefused{}, false)
	}
	log := c.cfg.Logger.With(zap.String("customer_id", string(c.id)), zap.Int64("version", c.state.Version), zap.Error(err))
	if t, ok := act.(TurnDone); ok {
		log.Warn("turn's commit refused", zap.Int64("turn", t.Turn))
		return c.try(ctx, TurnFailed{Turn: t.Turn, Run: t.Run, Why: "its commit was refused"}, false)
	}
	if !mute {
		log.Warn("commit refused, trying without a text of the system")
		return c.try(ctx, act, true)
	}
	return nil, nil, fmt.Errorf("commit customer %s at version %d: %w", c.id, c.state.Version, err)
}

// retryBlind is what refused must never do, for a build that plants it: it takes the
// fence that is stored by now, and tries again from memory.
func (c *core) retryBlind(ctx context.Context, act Act, mute bool) (any, []Effect, error) {
	snap, err := c.cfg.Store.Load(ctx, c.id)
	for ; errors.Is(err, support.ErrUnavailable) && ctx.Err() == nil; snap, err = c.cfg.Store.Load(ctx, c.id) {
		select {
		case <-ctx.Done():
		case <-time.After(c.cfg.pause / 10):
		}
	}
	if err != nil {
		return nil, nil, err
	}
	c.state.Version, c.state.LastSeq = snap.Customer.Version, snap.Customer.LastSeq
	return c.try(ctx, act, mute)
}

// duplicate answers an act that happened before with what it led to then.
func (c *core) duplicate(act Act, dup *support.DuplicateError) (any, []Effect, error) {
	switch act.(type) {
	case Deliver:
		return Delivered{Customer: dup.Customer, Seq: dup.Seq}, nil, nil
	case PersonReply:
		if dup.Customer == c.id {
			return Replied{Key: support.Key(dup.Customer, dup.Seq)}, nil, nil
		}
		return nil, nil, fmt.Errorf("reply: the key was used for another customer: %w", support.ErrConflict)
	}
	return nil, nil, dup
}
