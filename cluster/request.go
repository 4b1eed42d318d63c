package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"fte/cluster/clusterpb"
)

// ErrNoOwner means that no member of the view runs the kind.
var ErrNoOwner = errors.New("no active member runs this kind")

// Request sends msg to the virtual actor (kind, id), which is activated where it
// belongs if need be, and returns its answer. Whatever goes wrong short of the
// grain's own error, Request sends the same msg again until ctx ends: delivery is
// at least once, so the message carries its own identity. A *GrainError is final;
// after any other error the outcome is not known.
func (n *Node) Request(ctx context.Context, kind, id string, msg []byte) ([]byte, error) {
	env := &clusterpb.Envelope{Op: clusterpb.Envelope_REQUEST, Kind: kind, Identity: id, Body: msg}
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		changed := n.changed()
		reply, err := n.try(ctx, env)
		if err == nil {
			return reply, nil
		}
		var grain *GrainError
		if errors.As(err, &grain) && grain.Code != CodeRetry || errors.Is(err, ErrEvicted) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("request to %s/%s: %w; last: %w", kind, id, ctx.Err(), err)
		case <-n.done:
			return nil, fmt.Errorf("request to %s/%s: %w", kind, id, n.endedBy())
		case <-changed: // a new view may be the remedy
			wait = firstWait
		case <-time.After(wait/2 + rand.N(wait)):
		}
	}
}

// A request is retried after about 20 ms, doubling to about 320 ms.
const (
	firstWait = 20 * time.Millisecond
	lastWait  = 320 * time.Millisecond
)

// try sends a request once to whom the view says.
func (n *Node) try(ctx context.Context, env *clusterpb.Envelope) ([]byte, error) {
	if n.evicted.Load() {
		return nil, ErrEvicted
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Attempt)
	defer cancel()
	view := n.View()
	if m, ok := view.leaver(env.Kind, env.Identity); ok {
		resident := &clusterpb.Envelope{Op: env.Op, Kind: env.Kind, Identity: env.Identity, Body: env.Body, Resident: true}
		reply, err := n.send(ctx, m, resident)
		var grain *GrainError
		if !errors.As(err, &grain) || grain.Code != codeAbsent {
			return reply, err
		}
	}
	m, ok := view.Owner(env.Kind, env.Identity)
	if !ok {
		return nil, fmt.Errorf("find the owner of %s/%s: %w", env.Kind, env.Identity, ErrNoOwner)
	}
	return n.send(ctx, m, env)
}

// send asks one member, itself included, directly or through another.
func (n *Node) send(ctx context.Context, to Member, env *clusterpb.Envelope) ([]byte, error) {
	reply, err := n.exchange(ctx, to, env)
	switch {
	case err != nil:
		return nil, err
	case reply.Code == "":
		if reply.Body == nil {
			return []byte{}, nil
		}
		return reply.Body, nil
	default:
		return nil, &GrainError{Code: reply.Code, Text: reply.Text}
	}
}

func (n *Node) exchange(ctx context.Context, to Member, env *clusterpb.Envelope) (*clusterpb.Envelope, error) {
	if to.ID == n.ID() {
		return n.local(ctx, env)
	}
	if n.peers.up(to.ID) {
		return n.transport.ask(ctx, to, env)
	}
	via, ok := n.peers.another(n.View(), to.ID)
	if !ok {
		return nil, fmt.Errorf("ask %s: %w", to.Name, errUnreachable)
	}
	hop := &clusterpb.Envelope{
		Op: env.Op, Kind: env.Kind, Identity: env.Identity, Body: env.Body, Resident: env.Resident, Target: to.ID,
	}
	return n.transport.ask(ctx, via, hop)
}

// local hands a request to this member's own gate.
func (n *Node) local(ctx context.Context, env *clusterpb.Envelope) (*clusterpb.Envelope, error) {
	answer := make(chan *clusterpb.Envelope, 1)
	n.gate.deliver(env, func(r *clusterpb.Envelope) { answer <- r })
	select {
	case r := <-answer:
		return r, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("ask this member: %w", ctx.Err())
	}
}

// pass hands on a request of a member that cannot reach the target itself. One hop
// is all: the target is asked directly or not at all.
func (n *Node) pass(env *clusterpb.Envelope, answer func(*clusterpb.Envelope)) {
	ctx, cancel := context.WithTimeout(n.life, n.cfg.Attempt)
	defer cancel()
	to, ok := n.View().Member(env.Target)
	if !ok || !n.peers.up(to.ID) {
		answer(refuse(CodeRetry, "cannot reach it either"))
		return
	}
	direct := &clusterpb.Envelope{
		Op: env.Op, Kind: env.Kind, Identity: env.Identity, Body: env.Body, Resident: env.Resident,
	}
	r, err := n.transport.ask(ctx, to, direct)
	if err != nil {
		r = refuse(CodeRetry, err.Error())
	}
	answer(r)
}

// Look reports whether an identity is active where it belongs, and how many
// requests it has, without activating it.
func (n *Node) Look(ctx context.Context, kind, id string) (owner Member, depth int, resident bool, err error) {
	owner, ok := n.View().Owner(kind, id)
	if !ok {
		return Member{}, 0, false, fmt.Errorf("look for %s/%s: %w", kind, id, ErrNoOwner)
	}
	if owner.ID == n.ID() {
		depth, resident = n.gate.depth(identity{kind, id})
		return owner, depth, resident, nil
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Attempt)
	defer cancel()
	r, err := n.exchange(ctx, owner, &clusterpb.Envelope{Op: clusterpb.Envelope_LOOK, Kind: kind, Identity: id})
	if err != nil {
		return owner, 0, false, fmt.Errorf("look for %s/%s: %w", kind, id, err)
	}
	return owner, int(r.Count), r.Code == "", nil
}
