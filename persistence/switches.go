package persistence

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"fte/support"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"
)

// Switches is the supervisor's switch: whether the agent answers, whole and per
// channel. Every process sees a change within a second.
type Switches struct {
	pool *pgxpool.Pool
	log  *zap.Logger
	seen atomic.Pointer[Switch]
}

// Switch is what the supervisor set. The agent answers on a channel where both
// Agent and the channel's own switch are on; a channel that is not named is on.
type Switch struct {
	Agent    bool
	Channels map[support.Channel]bool
}

// On says whether the agent answers on a channel.
func (s Switch) On(ch support.Channel) bool {
	on, named := s.Channels[ch]
	return s.Agent && (on || !named)
}

// NewSwitches returns the switch. Until Run has read it once, it is on.
func NewSwitches(pool *pgxpool.Pool, log *zap.Logger) *Switches {
	s := &Switches{pool: pool, log: log.Named("switches")}
	s.seen.Store(&Switch{Agent: true})
	return s
}

// Get reads the switch.
func (s *Switches) Get(ctx context.Context) (Switch, error) {
	rows, err := s.pool.Query(ctx, `SELECT channel, agent FROM switches`)
	if err != nil {
		return Switch{}, fmt.Errorf("read the switch: %w", unavailable(err))
	}
	defer rows.Close()
	now := Switch{Agent: true, Channels: map[support.Channel]bool{}}
	for rows.Next() {
		var ch support.Channel
		var on bool
		if err := rows.Scan(&ch, &on); err != nil {
			return Switch{}, fmt.Errorf("read the switch: %w", err)
		}
		if ch == "" {
			now.Agent = on
		} else {
			now.Channels[ch] = on
		}
	}
	if err := rows.Err(); err != nil {
		return Switch{}, fmt.Errorf("read the switch: %w", unavailable(err))
	}
	s.seen.Store(&now)
	return now, nil
}

// Put sets the whole agent and the channels that are named; by is who did it.
func (s *Switches) Put(ctx context.Context, agent bool, channels map[support.Channel]bool, by string) error {
	names, on := []string{""}, []bool{agent}
	for ch, v := range channels {
		names, on = append(names, string(ch)), append(on, v)
	}
	_, err := s.pool.Exec(ctx, `
WITH put AS (
  INSERT INTO switches (channel, agent, by)
  SELECT channel, agent, $3 FROM unnest($1::text[], $2::bool[]) AS r (channel, agent)
  ON CONFLICT (channel) DO UPDATE SET agent = excluded.agent, by = excluded.by, at = now()
  WHERE switches.agent <> excluded.agent
  RETURNING channel, agent
)
INSERT INTO audit_log (who, what, refs) SELECT $3, 'switch', jsonb_object_agg(channel, agent) FROM put HAVING count(*) > 0`, names, on, by)
	if err != nil {
		return fmt.Errorf("set the switch: %w", unavailable(err))
	}
	_, err = s.Get(ctx)
	return err
}

// On says whether the agent answers on a channel, as this process last read it.
func (s *Switches) On(ch support.Channel) bool { return s.seen.Load().On(ch) }

// Run reads the switch each second until ctx ends. Where that fails, what was
// read last holds.
func (s *Switches) Run(ctx context.Context) error {
	for {
		if _, err := s.Get(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("switch not read", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(support.Tick(time.Second)):
		}
	}
}
