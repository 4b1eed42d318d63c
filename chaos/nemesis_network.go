package chaos

import (
	"context"
	"regexp"
	"slices"
	"time"

	"fte/chaos/fault"
	"fte/chaos/harness"
)

var networkNemeses = []Nemesis{
	{ID: "N4", Name: "pause-at-commit", What: "a worker stands still between a commit that it sent and its result", Needs: []string{Own}, Takes: 8 * time.Second, Strike: pauseAtCommit},
	{ID: "N7", Name: "cut-peers", What: "a worker is cut off from all members or from one, both ways", Needs: []string{Own}, Strike: cutPeers},
	{ID: "N8", Name: "cut-postgres", What: "a member is cut off from Postgres, or all are", Needs: []string{Own}, Strike: cutFrom(harness.ToPostgres)},
	{ID: "N9", Name: "cut-kafka", What: "a member is cut off from Kafka, or all are", Needs: []string{Own}, Strike: cutFrom(harness.ToKafka)},
	{ID: "N10", Name: "asymmetric", What: "a worker reaches Postgres and no member, or members and no Postgres, or is not heard by those it hears", Needs: []string{Own}, Strike: asymmetric},
	{ID: "N11", Name: "flap", What: "a way is cut and healed every 200 ms", Needs: []string{Own}, Strike: flap},
	{ID: "N12", Name: "slow-and-lossy", What: "what is sent is 50 to 500 ms late, or one packet of twenty is lost", Needs: []string{Own}, Strike: slowAndLossy},
	{ID: "N13", Name: "half-open", What: "what a member sends or is sent vanishes, and nobody is told", Needs: []string{Own}, Strike: halfOpen},
	{ID: "N14", Name: "commit-reply-lost", What: "commits reach Postgres and their results nobody", Needs: []string{Own}, Strike: loseReplies},
}

// The lengths of faults of the network.
const (
	longestCut = 12 * time.Second
	flapEvery  = 200 * time.Millisecond
	// stubborn is how much longer a fault stays on for something to be struck.
	stubborn = 15 * time.Second
)

// committing are the statements whose result decides what a member believes: the
// fenced commit of a customer, a row of the outbox, the end of a transaction.
var committing = map[string]*regexp.Regexp{
	"customer":    regexp.MustCompile(`SET version = version \+ 1`),
	"outbox":      regexp.MustCompile(`UPDATE outbox`),
	"transaction": regexp.MustCompile(`^commit$|SET version = version \+ 1`),
}

// ends are what members dial.
var ends = []string{harness.ToPostgres, harness.ToKafka, harness.ToPeers, harness.ToVendors}

// someone draws a member, of that kind unless it is empty. One that is about to
// come back is waited for.
func someone(ctx context.Context, s *Scene, kind string, but ...string) (string, error) {
	now, err := s.Now()
	if err != nil {
		return "", err
	}
	members := slices.DeleteFunc(now.Members, func(m harness.Member) bool {
		return kind != "" && m.Kind != kind || slices.Contains(but, m.Name)
	})
	name := anyOf(s, members).Name
	ctx, cancel := context.WithTimeout(ctx, stubborn)
	defer cancel()
	_, _ = s.WaitActive(ctx, name, 0) // one that does not come back has connections all the same, or nothing is struck
	return name, nil
}

// between are rules for all that two ends dial of each other; the second is one of
// ends or a member.
func between(one, other string, r fault.Rule) []fault.Rule {
	there, back := r, r
	there.From, there.To = one, []string{other}
	back.From, back.To = other, []string{one}
	switch other {
	case harness.ToPeers:
		back.From = ""
	case harness.ToPostgres, harness.ToKafka, harness.ToVendors:
		return []fault.Rule{there}
	}
	return []fault.Rule{there, back}
}

// unheard are rules by which nothing that one member sends gets to others, a
// member or all, while it hears them.
func unheard(one, others string) []fault.Rule {
	rules := between(one, others, fault.Rule{Harm: fault.Drop, Way: fault.Up})
	rules[1].Way = fault.Down // what it answers
	return rules
}

// disturb has rules on for as long as lasts, and longer where nothing was struck.
func disturb(ctx context.Context, s *Scene, kind string, lasts time.Duration, rules ...fault.Rule) error {
	on, err := s.Disturb(kind, seeded(s, rules)...)
	if err != nil {
		return err
	}
	defer on.Heal()
	wait(ctx, lasts)
	untilStruck(ctx, on)
	return nil
}

// seeded leaves chance to the strike's dice.
func seeded(s *Scene, rules []fault.Rule) []fault.Rule {
	for i := range rules {
		rules[i].Seed = s.Dice.Uint64()
	}
	return rules
}

// untilStruck waits for evidence, within limits.
func untilStruck(ctx context.Context, on *harness.Disturbance) {
	for end := time.Now().Add(stubborn); !on.Struck().Fired() && time.Now().Before(end) && wait(ctx, 50*time.Millisecond); {
	}
}

func cutPeers(ctx context.Context, s *Scene) error {
	one, err := someone(ctx, s, "worker")
	if err != nil {
		return err
	}
	others := harness.ToPeers
	if s.Dice.IntN(3) == 0 {
		if others, err = someone(ctx, s, "", one); err != nil {
			return err
		}
	}
	harm := anyOf(s, []fault.Harm{fault.Cut, fault.Freeze})
	return disturb(ctx, s, string(harm), min(s.For, longestCut), between(one, others, fault.Rule{Harm: harm})...)
}

func cutFrom(end string) func(context.Context, *Scene) error {
	return func(ctx context.Context, s *Scene) error {
		one, err := oneOrAll(ctx, s)
		if err != nil {
			return err
		}
		harm := anyOf(s, []fault.Harm{fault.Cut, fault.Freeze})
		return disturb(ctx, s, string(harm), min(s.For, longestCut), fault.Rule{From: one, To: []string{end}, Harm: harm})
	}
}

// oneOrAll draws a member, or once in four times nobody in particular.
func oneOrAll(ctx context.Context, s *Scene) (string, error) {
	if s.Dice.IntN(4) == 0 {
		return "", nil
	}
	return someone(ctx, s, "")
}

func asymmetric(ctx context.Context, s *Scene) error {
	one, err := someone(ctx, s, "worker")
	if err != nil {
		return err
	}
	var rules []fault.Rule
	switch s.Dice.IntN(4) {
	case 0:
		rules = between(one, harness.ToPeers, fault.Rule{Harm: fault.Drop})
	case 1:
		rules = between(one, harness.ToPostgres, fault.Rule{Harm: fault.Drop})
	case 2:
		rules = unheard(one, harness.ToPeers)
	default:
		other, err := someone(ctx, s, "worker", one)
		if err != nil {
			return err
		}
		rules = unheard(one, other)
	}
	return disturb(ctx, s, string(fault.Drop), min(s.For, longestCut), rules...)
}

func flap(ctx context.Context, s *Scene) error {
	one, err := someone(ctx, s, "worker")
	if err != nil {
		return err
	}
	on, err := s.Disturb(harness.Flap, between(one, anyOf(s, ends), fault.Rule{Harm: anyOf(s, []fault.Harm{fault.Cut, fault.Freeze})})...)
	if err != nil {
		return err
	}
	defer on.Heal()
	for end := time.Now().Add(min(s.For, longestCut)); ; on.Resume() {
		late := time.Since(end)
		if late > stubborn || late > 0 && on.Struck().Fired() || !wait(ctx, flapEvery) {
			return nil
		}
		on.Pause()
		if !wait(ctx, flapEvery) {
			return nil
		}
	}
}

func slowAndLossy(ctx context.Context, s *Scene) error {
	one, err := oneOrAll(ctx, s)
	if err != nil {
		return err
	}
	slow := fault.Rule{From: one, To: []string{anyOf(s, ends)}, Harm: fault.Slow}
	loss := fault.Rule{To: []string{anyOf(s, ends[:3])}, Harm: fault.Lose}
	which := s.Dice.IntN(3)
	if which == 0 {
		return disturb(ctx, s, string(fault.Slow), s.For, slow)
	}
	if which == 2 {
		on, err := s.Disturb(string(fault.Slow), seeded(s, []fault.Rule{slow})...)
		if err != nil {
			return err
		}
		defer on.Heal()
		defer untilStruck(ctx, on)
	}
	return disturb(ctx, s, string(fault.Lose), s.For, loss)
}

func halfOpen(ctx context.Context, s *Scene) error {
	one, err := someone(ctx, s, "worker")
	if err != nil {
		return err
	}
	way := anyOf(s, []fault.Way{fault.Both, fault.Up, fault.Down})
	return disturb(ctx, s, string(fault.Drop), min(s.For, longestCut), between(one, anyOf(s, ends), fault.Rule{Harm: fault.Drop, Way: way})...)
}

// loseReplies cuts connections when a result comes back, or leaves who waits for
// it in silence. Which member it is, chance says: one may own nobody who writes.
func loseReplies(ctx context.Context, s *Scene) error {
	after := committing[anyOf(s, []string{"customer", "outbox", "transaction"})]
	r := fault.Rule{To: []string{harness.ToPostgres}, After: after, Chance: 0.2 + 0.6*s.Dice.Float64()}
	if s.Dice.IntN(3) == 0 {
		r.Harm, r.Way = fault.Drop, fault.Down
	}
	return disturb(ctx, s, harness.LoseReply, min(s.For, longestCut), r)
}

// pauseAtCommit holds the results of commits back until the worker that sent the
// first stands still: it finds the result when it wakes, and much has happened.
func pauseAtCommit(ctx context.Context, s *Scene) error {
	lasts := 3*time.Second + time.Duration(s.Dice.Int64N(int64(5*time.Second)))
	sent := make(chan string, 1)
	on, err := s.Disturb(string(fault.Freeze), fault.Rule{To: []string{harness.ToPostgres}, Harm: fault.Freeze, Way: fault.Down, After: committing["customer"],
		OnMatch: func(from, _ string) {
			select {
			case sent <- from:
			default:
			}
		}})
	if err != nil {
		return err
	}
	defer on.Heal()
	var one string
	select {
	case one = <-sent:
	case <-time.After(stubborn):
		return nil
	case <-ctx.Done():
		return nil
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	_, resume, err := s.Pause(stopping, one)
	if err != nil {
		return nil // somebody else has just ended it: that the result was held back is noted
	}
	defer resume() // it may have been killed meanwhile
	untilStruck(stopping, on)
	on.Heal()
	wait(ctx, lasts)
	return nil
}
