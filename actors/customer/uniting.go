package customer

import (
	"context"
	"errors"
	"slices"

	"fte/support"
)

// merges judges a merge before anything is noted of it.
func (c *core) merges(ctx context.Context, m Merge) (Act, error) {
	from, err := c.cfg.Identity.Canonical(ctx, m.From)
	if err != nil {
		return nil, err
	}
	if from == c.id && m.From != c.id {
		m.done = true
		return m, nil
	}
	m.From = from
	return m, c.cfg.Identity.Joinable(ctx, c.id, from, m.Auto)
}

// uniting does what a merge needs outside of the mailbox, and says how it went.
// The older survives where no operator says who.
func (c *core) uniting(ctx context.Context, j Join) Act {
	survivor, loser := c.id, j.Other
	if j.Auto && loser < survivor {
		survivor, loser = loser, survivor
	}
	if err := c.cfg.Identity.Joinable(ctx, survivor, loser, j.Auto); err != nil {
		return c.unjoinable(ctx, j, err)
	}
	if survivor != c.id {
		err := c.cfg.Peers.Merge(ctx, survivor, Merge{From: c.id, Auto: j.Auto, By: j.By, Reason: j.Reason, Code: j.Code})
		if errors.Is(err, support.ErrConflict) {
			return JoinRefused{}
		}
		return JoinLater{}
	}
	snap, err := c.cfg.Store.Load(ctx, loser)
	if err != nil || slices.ContainsFunc(snap.Unfinished, func(o support.Outbound) bool { return o.Age > yieldFor }) {
		return JoinLater{} // a vendor may be away for hours, in which its other channels go on
	}
	if err := c.cfg.Peers.Yield(ctx, loser); err != nil {
		return JoinLater{}
	}
	snap, err = c.cfg.Store.Load(ctx, loser)
	if err != nil || len(snap.Claimed) > 0 || len(snap.Unfinished) > 0 || snap.Customer.MergedInto != "" {
		return JoinLater{}
	}
	other, err := Load(snap, "")
	if err != nil {
		return JoinLater{}
	}
	joined := Joined{Other: other}
	if c.cfg.Pages.NotMe != nil && j.Code != "" {
		joined.NotMe = c.cfg.Pages.NotMe(c.id, j.Code)
	}
	return joined
}

// unjoinable says what becomes of a merge that is refused as things are: the other
// may have been merged meanwhile.
func (c *core) unjoinable(ctx context.Context, j Join, err error) Act {
	now, gone := c.cfg.Identity.Canonical(ctx, j.Other)
	switch {
	case gone == nil && now == c.id:
		return JoinRefused{Done: true}
	case gone == nil && now != j.Other:
		return JoinLater{Other: now}
	case errors.Is(err, support.ErrConflict), errors.Is(err, support.ErrNotFound):
		return JoinRefused{}
	}
	return JoinLater{}
}
