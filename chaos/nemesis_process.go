package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/support"
)

var processNemeses = []Nemesis{
	{ID: "N1", Name: "kill", What: "SIGKILL to a worker, an API process, or one of each", Strike: kill},
	{ID: "N2", Name: "rolling-restart", What: "SIGTERM to every member in turn, while models are being asked", Takes: 40 * time.Second, Strike: roll},
	{ID: "N3", Name: "pause", What: "SIGSTOP to a member for 1 or 5 s", Strike: pausing(time.Second, 5*time.Second)},
	{ID: "N3", Name: "zombie", What: "SIGSTOP to a member for 30 s: its customers are somebody else's when it wakes", Takes: 30 * time.Second, Strike: pausing(30 * time.Second)},
	{ID: "N3", Name: "long-zombie", What: "SIGSTOP to a member for 90 s", Takes: 90 * time.Second, Strike: pausing(90 * time.Second)},
	{ID: "N5", Name: "starve", What: "a member has 5 % of a processor", Strike: starve},
	{ID: "N6", Name: "failpoint", What: "a member dies between two durable things", Needs: []string{"failpoint"}, Strike: die},
	{ID: "N27", Name: "scale", What: "seven workers join, all but one leave, two come back", Takes: manyFor, Strike: scale},
	{ID: "N29", Name: "double-start", What: "a worker is started a second time under its name", Strike: twin},
	{ID: "N30", Name: "kill-all", What: "SIGKILL to all members at once", Strike: killAll},
	{ID: "N30", Name: "cold-restart", What: "everything is stopped and started again", Needs: []string{Own}, Takes: 20 * time.Second, Alone: true, Strike: restart},
	{ID: "N39", Name: "declare-dead", What: "an operator declares a healthy worker dead", Strike: declare},
	{ID: "N40", Name: "kill-supervisor", What: "SIGKILL to the supervisor, with which everything ends", Needs: []string{Own}, Takes: 20 * time.Second, Alone: true, Strike: decapitate},
}

// backWithin is how long a member that was ended may take to be active again, with
// whatever else is wrong meanwhile.
const backWithin = 45 * time.Second

// back is for what follows the harm: it goes on when ctx has ended.
func back(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), backWithin)
}

// of draws a member of a kind, worker or api; of any where kind is empty.
func of(s *Scene, kind string) (harness.Member, error) {
	now, err := s.Now()
	if err != nil {
		return harness.Member{}, err
	}
	some := slices.DeleteFunc(now.Members, func(m harness.Member) bool { return kind != "" && m.Kind != kind })
	if len(some) == 0 {
		return harness.Member{}, fmt.Errorf("choose a member: there is no %s", kind)
	}
	return anyOf(s, some), nil
}

// mostly draws a worker, and one time in four an API process.
func mostly(s *Scene) (harness.Member, error) {
	if s.Dice.IntN(4) == 0 {
		return of(s, "api")
	}
	return of(s, "worker")
}

// returned waits until the members are active under later generations. One that does
// not come back in time is for the end of the run to miss: what keeps it away may
// be another fault.
func returned(ctx context.Context, s *Scene, members ...harness.Member) {
	for _, m := range members {
		_, _ = s.WaitActive(ctx, m.Name, m.Generation)
	}
}

// atOnce does the same with each and returns when all are done.
func atOnce[T any](each []T, do func(T) error) error {
	errs := make([]error, len(each))
	var all sync.WaitGroup
	for i, one := range each {
		all.Go(func() { errs[i] = do(one) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// killed kills members at once and waits until they are back.
func killed(ctx context.Context, s *Scene, members []harness.Member) error {
	ctx, cancel := back(ctx)
	defer cancel()
	err := atOnce(members, func(m harness.Member) error {
		_, err := s.Kill(ctx, m.Name)
		return err
	})
	returned(ctx, s, members...)
	return err
}

func kill(ctx context.Context, s *Scene) error {
	kinds := anyOf(s, [][]string{{"worker"}, {"worker"}, {"api"}, {"worker", "api"}})
	var victims []harness.Member
	for _, kind := range kinds {
		m, err := of(s, kind)
		if err != nil {
			return err
		}
		victims = append(victims, m)
	}
	return killed(ctx, s, victims)
}

func killAll(ctx context.Context, s *Scene) error {
	now, err := s.Now()
	if err != nil {
		return err
	}
	return killed(ctx, s, now.Members)
}

// roll replaces every member, one after the other, in an order of the dice, while
// the model takes its time.
func roll(ctx context.Context, s *Scene) error {
	now, err := s.Now()
	if err != nil {
		return err
	}
	heal, err := s.Break(ctx, harness.VendorFault{Vendor: "openai", Kind: "slow", Delay: "2s"})
	if err != nil {
		return err
	}
	s.Dice.Shuffle(len(now.Members), func(i, j int) { now.Members[i], now.Members[j] = now.Members[j], now.Members[i] })
	for _, m := range now.Members {
		if ctx.Err() == nil {
			err = errors.Join(err, replace(ctx, s, m))
		}
	}
	return errors.Join(err, heal())
}

// thinks is how long a worker may take to have a turn under way.
const thinks = 2 * time.Second

// replace ends a member by SIGTERM and waits until its successor is active.
func replace(ctx context.Context, s *Scene, m harness.Member) error {
	ctx, cancel := back(ctx)
	defer cancel()
	busy := ""
	if m.Kind == "worker" {
		turns := 0
		for asked := time.Now(); turns == 0 && time.Since(asked) < thinks && wait(ctx, 50*time.Millisecond); {
			turns, _ = s.Thinking(ctx, m.Name) // Postgres may be somebody else's victim
		}
		busy = fmt.Sprintf(" during %d turns", turns)
	}
	if err := s.Retire(ctx, m.Name, busy); err != nil {
		return err
	}
	returned(ctx, s, m)
	return nil
}

// pausing stops a member for one of the lengths that fit, at least the shortest.
func pausing(lengths ...time.Duration) func(context.Context, *Scene) error {
	return func(ctx context.Context, s *Scene) error {
		fit := slices.DeleteFunc(slices.Clone(lengths), func(d time.Duration) bool { return d > max(s.For, lengths[0]) })
		m, err := mostly(s)
		if err != nil {
			return err
		}
		_, resume, err := s.Pause(ctx, m.Name)
		if err != nil {
			return err
		}
		wait(ctx, anyOf(s, fit))
		return resume()
	}
}

// longestStarving is how long a member starves at most.
const longestStarving = 15 * time.Second

func starve(ctx context.Context, s *Scene) error {
	m, err := mostly(s)
	if err != nil {
		return err
	}
	return s.Starve(ctx, m.Name, min(s.For, longestStarving))
}

// die arms failpoints in an order of the dice, one after the other, for as long as
// the strike lasts: whoever comes to one dies there.
func die(ctx context.Context, s *Scene) error {
	end := time.Now().Add(s.For)
	points := slices.Clone(support.Failpoints)
	s.Dice.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
	for i, name := range points {
		left := time.Until(end)
		if i > 0 && left < time.Second || ctx.Err() != nil {
			return nil
		}
		if err := dieAt(ctx, s, name, max(left, visited)); err != nil {
			return err
		}
	}
	return nil
}

// visited is how long somebody may take to come to a failpoint.
const visited = 5 * time.Second

// dieAt has one process die at a failpoint and waits until its member is back.
// Where nobody comes by in time, everybody may pass again.
func dieAt(ctx context.Context, s *Scene, name string, within time.Duration) error {
	if name == support.FailLookedUp { // an unknown send is looked up where nothing else says what became of it
		heal, err := s.Break(ctx, harness.CutSends(1))
		if err != nil {
			return err
		}
		defer heal()
		receipts, err := s.Turn(ctx, "whatsapp/options", map[string]any{"drop": 1})
		if err != nil {
			return err
		}
		defer receipts()
	}
	now, err := s.Now()
	if err != nil {
		return err
	}
	points := s.Failpoints()
	before, err := points.Fired(name)
	if err != nil {
		return err
	}
	from := time.Now()
	if err := points.Arm(name); err != nil {
		return err
	}
	var fired []harness.Firing
	for limit := from.Add(min(within, visited)); len(fired) <= len(before) && time.Now().Before(limit) && wait(ctx, 20*time.Millisecond); {
		if fired, err = points.Fired(name); err != nil {
			return err
		}
	}
	if err := points.Disarm(name); err != nil {
		return err
	}
	if fired, err = points.Fired(name); err != nil {
		return err
	}
	if len(fired) <= len(before) {
		s.Note(checker.Fault{Kind: "failpoint", Target: name, From: from, To: time.Now(), Evidence: "nobody came by"})
		return nil
	}
	was := fired[len(before)]
	ctx, cancel := back(ctx)
	defer cancel()
	gone := s.WaitGone(ctx, was.PID) == nil
	s.Note(checker.Fault{Kind: "failpoint", Target: was.Member, From: was.At, To: was.At, Fired: gone,
		Evidence: fmt.Sprintf("process %d is gone at %s, hit %d: %v", was.PID, name, was.Hit, gone)})
	if i := slices.IndexFunc(now.Members, func(m harness.Member) bool { return m.Name == was.Member }); i >= 0 && now.Members[i].PID == was.PID {
		returned(ctx, s, now.Members[i])
	}
	return nil
}

// well draws a worker and waits until it is active.
func well(ctx context.Context, s *Scene) (harness.Member, error) {
	m, err := of(s, "worker")
	if err != nil {
		return m, err
	}
	return s.WaitActive(ctx, m.Name, 0)
}

// twin starts a worker twice: the second start declares the first dead, whose
// supervisor starts it a third time.
func twin(ctx context.Context, s *Scene) error {
	ctx, cancel := back(ctx)
	defer cancel()
	m, err := well(ctx, s)
	if err != nil {
		return err
	}
	from := time.Now()
	second, err := s.Twin(ctx, m.Name)
	if err != nil {
		return err
	}
	defer second.Kill()
	first := s.WaitGone(ctx, m.PID)
	third, err := s.WaitActive(ctx, m.Name, second.Generation)
	if err == nil {
		select {
		case <-second.Ended():
		case <-ctx.Done():
		}
	}
	s.Note(checker.Fault{Kind: "twin", Target: m.Name, From: from, To: time.Now(), Fired: first == nil,
		Evidence: fmt.Sprintf("process %d of generation %d is gone, generation %d was active, then %d: %v", m.PID, m.Generation, second.Generation, third.Generation, errors.Join(first, err))})
	return nil
}

// declare has an operator declare a worker dead that is well.
func declare(ctx context.Context, s *Scene) error {
	ctx, cancel := back(ctx)
	defer cancel()
	m, err := well(ctx, s)
	if err != nil {
		return err
	}
	from := time.Now()
	f := checker.Fault{Kind: "declare", Target: m.Name, From: from}
	if err := s.Evict(ctx, m.SystemID); err != nil {
		f.To, f.Evidence = time.Now(), err.Error()
		s.Note(f)
		return nil
	}
	gone := s.WaitGone(ctx, m.PID)
	f.To, f.Fired = time.Now(), gone == nil
	f.Evidence = fmt.Sprintf("generation %d was declared dead, process %d is gone after %v: %v", m.Generation, m.PID, f.To.Sub(from).Round(time.Millisecond), gone == nil)
	s.Note(f)
	returned(ctx, s, m)
	return nil
}

// startsWithin is how long everything may take to start again.
const startsWithin = 2 * time.Minute

func restart(ctx context.Context, s *Scene) error {
	if err := s.Halt(); err != nil { // what was killed in the end is no clean stop, and starts all the same
		s.Note(checker.Fault{Kind: "term", Target: "supervisor", From: time.Now(), To: time.Now(), Evidence: err.Error()})
	}
	return again(ctx, s)
}

func decapitate(ctx context.Context, s *Scene) error {
	within, cancel := back(ctx)
	defer cancel()
	err := s.KillSupervisor(within)
	return errors.Join(err, again(ctx, s))
}

// again starts everything again.
func again(ctx context.Context, s *Scene) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startsWithin)
	defer cancel()
	return s.Restart(ctx)
}

// What a change of scale adds to a system: many workers where the strike lasts
// long enough for them to take over, a few else.
const (
	many    = 7
	few     = 2
	manyFor = 20 * time.Second
	stagger = 300 * time.Millisecond
)

// scale has workers join one after the other, has all but one worker leave, one
// after the other, and has the supervisor's own come back.
func scale(ctx context.Context, s *Scene) (err error) {
	workers, err := s.Workers()
	if err != nil {
		return err
	}
	more, why := many, ""
	if s.For < manyFor {
		more, why = few, fmt.Sprintf(" (no more than %d join in a strike of less than %v)", few, manyFor)
	}
	from := time.Now()
	joined, failed := join(ctx, s, more)
	high, unsure := s.Active(ctx)
	wait(ctx, s.For/3)

	heal, cancel := back(ctx)
	defer cancel()
	leave := slices.Clone(workers)
	s.Dice.Shuffle(len(leave), func(i, j int) { leave[i], leave[j] = leave[j], leave[i] })
	leave = leave[1:]
	var releases []func() error
	for _, m := range leave {
		release, held := s.Hold(m.Name)
		if held != nil {
			err = errors.Join(err, held)
			continue
		}
		releases = append(releases, release)
	}
	var steps []func() error
	for _, j := range joined {
		steps = append(steps, func() error { return j.Leave(heal) })
	}
	for _, m := range leave {
		steps = append(steps, func() error { return s.Retire(heal, m.Name, " to leave the cluster") })
	}
	s.Dice.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	var leaving sync.WaitGroup
	ends := make([]error, len(steps))
	for i, step := range steps {
		leaving.Go(func() { ends[i] = step() })
		wait(heal, stagger)
	}
	leaving.Wait()
	low, uncounted := s.Active(heal)
	wait(ctx, s.For/3)
	for _, release := range releases {
		err = errors.Join(err, release())
	}
	f := checker.Fault{Kind: "scale", Target: "workers", From: from, To: time.Now(), Fired: len(joined) > 0}
	f.Evidence = fmt.Sprintf("%d workers, %d active when %d had joined, %d when all but one had left%s: %v",
		len(workers), high, len(joined), low, why, errors.Join(append(ends, failed, unsure, uncounted)...))
	s.Note(f)
	rest, done := back(ctx)
	defer done()
	returned(rest, s, leave...)
	return err
}

// join starts workers beside the supervisor's, a little one after the other, and
// returns those that became active.
func join(ctx context.Context, s *Scene, n int) (joined []*harness.Joined, err error) {
	within, cancel := context.WithTimeout(ctx, backWithin)
	defer cancel()
	all, errs := make([]*harness.Joined, n), make([]error, n)
	var starting sync.WaitGroup
	for i := range n {
		starting.Go(func() { all[i], errs[i] = s.Join(within, fmt.Sprintf("joiner-%d", i+1)) })
		if !wait(within, stagger) {
			break
		}
	}
	starting.Wait()
	return slices.DeleteFunc(all, func(j *harness.Joined) bool { return j == nil }), errors.Join(errs...)
}
