package chaos

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"fte/chaos/checker"
	"fte/chaos/workload"
	"fte/support"
)

var storeNemeses = []Nemesis{
	{ID: "N15", Name: "postgres-restart", What: "Postgres restarts: fast, by a crash of its own, or killed", Strike: restartPostgres},
	{ID: "N16", Name: "postgres-terminate", What: "Postgres ends the connections of all members or of one, several times a second", Strike: terminate},
	{ID: "N17", Name: "postgres-exhaust", What: "no connection to Postgres is left", Strike: func(ctx context.Context, s *Scene) error { return s.Exhaust(ctx, min(s.For, longestOutage)) }},
	{ID: "N18", Name: "postgres-lock", What: "a customer's row is locked for 10 s while that customer writes", Takes: lockFor, Strike: lockCustomer},
	{ID: "N21", Name: "kafka-kill", What: "the broker is killed and started again", Strike: func(ctx context.Context, s *Scene) error { return s.RestartKafka(ctx) }},
	{ID: "N22", Name: "kafka-rebalance", What: "a stranger joins a channel's intake and leaves it, over and over", Strike: func(ctx context.Context, s *Scene) error {
		return s.Rebalance(ctx, anyOf(s, support.Channels), min(s.For, longestOutage), s.Dice)
	}},
	{ID: "N23", Name: "kafka-repeat", What: "the producer delivers records again, older ones after newer ones", Strike: repeat},
	{ID: "N24", Name: "kafka-partitions", What: "drained topics get more partitions", Takes: growFor, Alone: true, Strike: grow},
}

// The lengths of faults that have their own.
const (
	longestOutage = 10 * time.Second
	lockFor       = 10 * time.Second
	growFor       = 95 * time.Second
	learn         = 62 * time.Second // clients read twice a minute how many partitions there are, and the one that leads compares as often
)

// anyOf draws one.
func anyOf[T any](s *Scene, from []T) T { return from[s.Dice.IntN(len(from))] }

func restartPostgres(ctx context.Context, s *Scene) error {
	return s.RestartPostgres(ctx, anyOf(s, []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL}))
}

func terminate(ctx context.Context, s *Scene) error {
	now, err := s.Now()
	if err != nil {
		return err
	}
	whose := []string{""}
	for _, m := range now.Members {
		whose = append(whose, m.Name)
	}
	member := ""
	if s.Dice.IntN(2) == 0 {
		member = anyOf(s, whose)
	}
	return s.Storm(ctx, member, min(s.For, longestOutage), s.Dice)
}

// outsider is a customer of the load who writes for a strike alone.
func outsider(s *Scene) int { return 1000 + s.Dice.IntN(8900) }

// asks is what outsiders write.
const asks = "How do I export my boards?"

// lockCustomer has a customer write, locks its row, and has it write again.
func lockCustomer(ctx context.Context, s *Scene) error {
	from := time.Now()
	within, cancel := context.WithTimeout(ctx, lockFor)
	defer cancel()
	message := workload.Message{Customer: outsider(s), Channel: support.WhatsApp, Text: asks}
	first := s.Load.Write(within, message)
	missed := func(err error) error {
		s.Note(checker.Fault{Kind: "lock", Target: "customer", From: from, To: time.Now(), Evidence: err.Error()})
		return nil
	}
	if first.Outcome != checker.OK {
		return missed(fmt.Errorf("the customer's first message was not accepted: status %d", first.Status))
	}
	id, err := s.CustomerOf(within, first.Channel, first.ExternalID)
	if err != nil {
		return missed(err)
	}
	lock, err := s.LockCustomer(within, id)
	if err != nil {
		return missed(err)
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.Load.Write(ctx, message)
	}()
	lock.Hold(ctx, lockFor)
	<-written
	return nil
}

// repeat delivers the latest records of one channel again, and of the others as
// long as there is time.
func repeat(ctx context.Context, s *Scene) error {
	until := time.Now().Add(min(s.For, longestOutage))
	for _, i := range s.Dice.Perm(len(support.Channels)) {
		if err := s.Repeat(ctx, support.Channels[i], 60); err != nil {
			return err
		}
		if time.Now().After(until) || ctx.Err() != nil {
			break
		}
	}
	return nil
}

// grow waits until a topic is drained, gives it one more partition, and keeps the
// customers quiet until every client knows of it: the producers learn of it one by
// one.
func grow(ctx context.Context, s *Scene) error {
	from, ch := time.Now(), anyOf(s, support.Channels)
	within, cancel := context.WithTimeout(ctx, growFor)
	defer cancel()
	missed := func(err error) error {
		s.Note(checker.Fault{Kind: "partitions", Target: string(ch), From: from, To: time.Now(), Evidence: err.Error()})
		return nil
	}
	resume, err := s.Load.Quiet(within)
	if err != nil {
		return missed(err)
	}
	defer resume()
	drained, stop := context.WithTimeout(within, growFor-learn)
	defer stop()
	if err := s.Drained(drained, ch, s.Load.Accepted()); err != nil {
		return missed(err)
	}
	known := time.NewTimer(learn)
	defer known.Stop()
	if err := s.Grow(within, ch, 1); err != nil {
		return err
	}
	select {
	case <-known.C:
	case <-within.Done():
	}
	return nil
}
